import type { Call, StopCause } from "../mode.ts";

/** Headers as a handler writes them. */
export type HandlerHeaders = Readonly<Record<string, string | number | readonly string[]>>;

/** How a handler ended a call by itself. */
export type HandlerVerdict =
  | { readonly kind: "succeeded"; readonly value: unknown }
  | { readonly kind: "failed"; readonly error: unknown };

/** What a handler can say about its answer, and know about its call, in the shape of OpenFaaS' Node template. */
export class HandlerContext {
  readonly callId: string;
  /** Milliseconds since the epoch. */
  readonly deadlineMs: number;
  readonly #onVerdict: (verdict: HandlerVerdict) => void;
  #abort: AbortController | undefined;
  #stopped: StopCause | undefined;
  #status: number | undefined;
  #headers: HandlerHeaders = {};

  constructor(call: Call, onVerdict: (verdict: HandlerVerdict) => void) {
    this.callId = call.id;
    this.deadlineMs = call.deadlineMs;
    this.#onVerdict = onVerdict;
  }

  /** Aborted when the call's deadline has passed or its caller went away. Made on first use: most handlers never ask. */
  get signal(): AbortSignal {
    this.#abort ??= new AbortController();
    if (this.#stopped) this.#abort.abort(this.#stopped);
    return this.#abort.signal;
  }

  /** Sets the answer's status; without a value gives the one set. */
  status(): number;
  status(code: number): this;
  status(code?: number): this | number {
    if (code === undefined) return this.#status ?? 200;
    this.#status = code;
    return this;
  }

  /** Sets the answer's headers; without a value gives those set. */
  headers(): HandlerHeaders;
  headers(values: HandlerHeaders): this;
  headers(values?: HandlerHeaders): this | HandlerHeaders {
    if (values === undefined) return this.#headers;
    this.#headers = values;
    return this;
  }

  /** Ends the call with this answer. */
  succeed(value?: unknown): void {
    this.#onVerdict({ kind: "succeeded", value });
  }

  /** Ends the call as failed: status 500 unless another was set. */
  fail(error?: unknown): void {
    this.#status ??= 500;
    this.#onVerdict({ kind: "failed", error });
  }

  /** Tells the handler that nobody waits for it any more. */
  stop(cause: StopCause): void {
    this.#stopped = cause;
    this.#abort?.abort(cause);
  }
}
