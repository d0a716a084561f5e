import type { BuskerError } from "../../schemas/errors.ts";
import { type FrameKind, maxFrameBytes } from "../../schemas/invocation.ts";

/** Publishes one frame. An `abort` comes with its error. */
export type PublishFrame = (kind: FrameKind, number: number, payload: Uint8Array, error?: BuskerError) => void;

/** Where somebody writes a body to. */
export interface BodySink {
  /**
   * Takes the next bytes, whose memory must not be used again. False: some of them wait for credit, and the writer is to
   * stop until `onDrain`.
   */
  readonly write: (chunk: Uint8Array) => boolean;
  /** The body is complete. */
  readonly end: () => void;
  /** The body will never be complete. */
  readonly abort: (error: BuskerError) => void;
  /** Ended or aborted, or nobody wants it any more. */
  readonly isOver: boolean;
  /** Called when nothing waits any more after `write` has given false: it was sent, or nobody wants it any more. */
  onDrain: () => void;
}

const nothing = new Uint8Array();

/** The sending side of a streamed body: numbers it, cuts it into frames, and sends no more than was granted. */
export class BodySender implements BodySink {
  onDrain: () => void = () => {};
  readonly #publish: PublishFrame;
  #held: Uint8Array[] = [];
  #number = 0;
  #sentBytes: number;
  #creditBytes: number;
  #isEnding = false;
  #isOver = false;

  /** `sentBytes` went with the request or the head; `creditBytes` may be sent in all. */
  constructor(publish: PublishFrame, sentBytes: number, creditBytes: number) {
    this.#publish = publish;
    this.#sentBytes = sentBytes;
    this.#creditBytes = creditBytes;
  }

  /** Ended, aborted or closed: nothing is sent any more. */
  get isOver(): boolean {
    return this.#isOver;
  }

  write(chunk: Uint8Array): boolean {
    if (this.#isOver || this.#isEnding || chunk.length === 0) return true;
    this.#held.push(chunk);
    this.#flush();
    return this.#held.length === 0;
  }

  end(): void {
    if (this.#isOver) return;
    this.#isEnding = true;
    this.#flush();
  }

  abort(error: BuskerError): void {
    if (this.#isOver) return;
    this.close();
    this.#publish("abort", this.#number + 1, Buffer.from(error.message), error);
  }

  /** The other side is gone or wants no more: what waits is let go. */
  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const isWaiting = this.#held.length > 0 && !this.#isEnding;
    this.#held = [];
    if (isWaiting) this.onDrain();
  }

  /** The receiver grants so many bytes in all. */
  grant(totalBytes: number): void {
    if (this.#isOver || totalBytes <= this.#creditBytes) return;
    this.#creditBytes = totalBytes;
    if (this.#held.length === 0) return;
    this.#flush();
    if (this.#held.length === 0 && !this.#isEnding) this.onDrain();
  }

  #flush(): void {
    for (let chunk = this.#held[0]; chunk; chunk = this.#held[0]) {
      const bytes = Math.min(chunk.length, maxFrameBytes, this.#creditBytes - this.#sentBytes);
      if (bytes <= 0) return;
      this.#sentBytes += bytes;
      this.#publish("data", (this.#number += 1), bytes === chunk.length ? chunk : chunk.subarray(0, bytes));
      if (bytes === chunk.length) this.#held.shift();
      else this.#held[0] = chunk.subarray(bytes);
    }
    if (!this.#isEnding) return;
    this.#isOver = true;
    this.#publish("end", this.#number + 1, nothing);
  }
}
