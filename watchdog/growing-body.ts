import { maxWholeBytes, wholeWaitMs } from "../schemas/invocation.ts";
import type { BodySink } from "../services/bus/body-sender.ts";

/** Hands over a body that will not be whole in time: what there is of it, and what takes the sink of the rest. */
export type BeginStream = (first: Buffer, start: (sink: BodySink) => void) => void;

/** What becomes of a growing body. */
export interface GrowingParts {
  /** Most bytes of a body that is not streamed. */
  readonly maxBytes: number;
  /** Called at most once, and never in the turn of the first bytes unless they are many. Absent: the body goes whole. */
  readonly onStream?: BeginStream | undefined;
  /** It is larger than `maxBytes`, and cannot be streamed. */
  readonly onTooLarge: () => void;
}

/** The body of an answer while it is being made: kept while it may still go whole, passed on piece by piece after that. */
export class GrowingBody {
  /** Called when `write` may go on after it has given false. */
  onDrain: () => void = () => {};
  readonly #parts: GrowingParts;
  #chunks: Uint8Array[] = [];
  #bytes = 0;
  #sink: BodySink | undefined;
  #timer: NodeJS.Timeout | undefined;
  #hasBegun = false;
  #isDropped = false;

  constructor(parts: GrowingParts) {
    this.#parts = parts;
  }

  /** Takes the next bytes, whose memory must not be used again. False: the writer is to stop until `onDrain`. */
  write(chunk: Uint8Array): boolean {
    if (this.#isDropped) return true;
    if (this.#sink) return this.#sink.write(chunk);
    this.#bytes += chunk.length;
    this.#chunks.push(chunk);
    if (this.#parts.onStream) {
      if (this.#bytes > maxWholeBytes) this.begin();
    } else if (this.#bytes > this.#parts.maxBytes) this.#parts.onTooLarge();
    return true;
  }

  /** The end has not come together with what was written: what is here waits for it, but not for long. */
  expectMore(): void {
    if (this.#hasBegun || this.#isDropped || !this.#parts.onStream) return;
    this.#timer ??= setTimeout(() => this.begin(), wholeWaitMs);
  }

  /** The end is near: what is here need not go ahead of it. */
  expectEnd(): void {
    clearTimeout(this.#timer);
  }

  /** Nobody wants it: nothing is kept, nothing begins any more. */
  drop(): void {
    this.#isDropped = true;
    this.#chunks = [];
    this.#bytes = 0;
    this.expectEnd();
  }

  /** What there is of a body that has not begun to stream; it will not begin any more. */
  whole(): Buffer {
    const body = this.#take();
    this.drop();
    return body;
  }

  /** Lets the head go now, with what there is. Nothing happens when it has gone, or when the body must be whole. */
  begin(): void {
    const { onStream } = this.#parts;
    if (this.#hasBegun || this.#isDropped || !onStream) return;
    this.#hasBegun = true;
    onStream(this.#take(), (sink) => {
      this.#sink = sink;
      sink.onDrain = () => this.onDrain();
      sink.write(this.#take());
    });
  }

  #take(): Buffer {
    const chunks = this.#chunks;
    const bytes = this.#bytes;
    this.#chunks = [];
    this.#bytes = 0;
    const [first] = chunks;
    // Mostly it is one piece, which need not be copied.
    if (first && chunks.length === 1) return Buffer.from(first.buffer, first.byteOffset, first.byteLength);
    return Buffer.concat(chunks, bytes);
  }
}
