import { randomUUID } from "node:crypto";
import type { SpanAttributes, SpanData, SpanKind, SpanLink } from "../../schemas/span.ts";
import { formatTraceparent, type TraceContext } from "../../schemas/trace-context.ts";

/** Where spans of a process go, and the clock that they are timed by. */
export interface SpanRecorder {
  /** Milliseconds since the epoch, with fractions. */
  readonly nowMs: () => number;
  readonly take: (span: SpanData) => void;
}

// Date.now() is up to a millisecond behind; beyond this the machine's clock was set, and the spans of other processes follow it.
const mostApartMs = 1.5;

/** A clock that counts fractions of milliseconds and follows the machine's. */
export const createTraceClock = (): (() => number) => {
  let offsetMs = performance.timeOrigin;
  return () => {
    const sinceMs = performance.now();
    const wallMs = Date.now();
    if (Math.abs(offsetMs + sinceMs - wallMs) > mostApartMs) offsetMs = wallMs - sinceMs;
    return offsetMs + sinceMs;
  };
};

// Node keeps random bytes in stock for UUIDs only: a span that begins a trace costs 1.4 microseconds so, and 3.9 with
// `randomBytes` (measured).
/** An id for a trace; what sampling goes by, its end, is random. */
export const newTraceId = (): string => randomUUID().replaceAll("-", "");

const newSpanId = (): string => {
  const uuid = randomUUID();
  return uuid.slice(0, 8) + uuid.slice(-8);
};

/** What is known of a span when it begins. */
export interface SpanStart {
  readonly name: string;
  readonly kind: SpanKind;
  /** Absent: now. */
  readonly startMs?: number | undefined;
  readonly attributes?: SpanAttributes;
  readonly links?: readonly SpanLink[];
}

/** A span that has not ended. One that is not sampled has a context all the same, and is told to nobody. */
export class OpenSpan {
  readonly context: TraceContext;
  readonly #recorder: SpanRecorder;
  readonly #start: SpanStart;
  readonly #startMs: number;
  readonly #parentId: string | undefined;
  #attributes: SpanAttributes | undefined;
  #isOver = false;

  constructor(
    recorder: SpanRecorder,
    start: SpanStart,
    at: { readonly traceId: string; readonly parentId?: string | undefined; readonly isSampled: boolean },
  ) {
    const { traceId, parentId, isSampled } = at;
    this.context = { traceId, spanId: newSpanId(), isSampled };
    this.#recorder = recorder;
    this.#start = start;
    this.#startMs = start.startMs ?? recorder.nowMs();
    this.#parentId = parentId;
    this.#attributes = start.attributes;
  }

  /** The `traceparent` of what it causes. */
  get traceparent(): string {
    return formatTraceparent(this.context);
  }

  /** The time by its own clock. */
  nowMs(): number {
    return this.#recorder.nowMs();
  }

  /** Adds to what it is described by. */
  describe(attributes: SpanAttributes): void {
    this.#attributes = { ...this.#attributes, ...attributes };
  }

  /** Begins a span that this one causes. */
  child(start: SpanStart): OpenSpan {
    const { traceId, spanId, isSampled } = this.context;
    return new OpenSpan(this.#recorder, start, { traceId, parentId: spanId, isSampled });
  }

  /** Begins a span with the same cause; where this one began its trace, this one is the cause. */
  sibling(start: SpanStart): OpenSpan {
    const { traceId, spanId, isSampled } = this.context;
    return new OpenSpan(this.#recorder, start, { traceId, parentId: this.#parentId ?? spanId, isSampled });
  }

  /** Ends it, once; with `error` it has failed. */
  end({ error, endMs }: { readonly error?: string | undefined; readonly endMs?: number | undefined } = {}): void {
    if (this.#isOver || !this.context.isSampled) return;
    this.#isOver = true;
    const { traceId, spanId } = this.context;
    const { name, kind, links } = this.#start;
    this.#recorder.take({
      traceId,
      spanId,
      ...(this.#parentId === undefined ? {} : { parentId: this.#parentId }),
      name,
      kind,
      startMs: this.#startMs,
      // It may be timed by another process' clock at its one end.
      endMs: Math.max(this.#startMs, endMs ?? this.#recorder.nowMs()),
      attributes: this.#attributes ?? {},
      ...(error === undefined ? {} : { error }),
      ...(links === undefined ? {} : { links }),
    });
  }
}
