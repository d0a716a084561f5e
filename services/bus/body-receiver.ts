import { BuskerError } from "../../schemas/errors.ts";

/** Who takes a body. Exactly one of `onEnd` and `onError` is called, and nothing after it. */
export interface BodyListener {
  readonly onData: (chunk: Uint8Array) => void;
  readonly onEnd: () => void;
  readonly onError: (error: BuskerError) => void;
}

/** A body that comes in parts. */
export interface IncomingBody {
  /** To be called in the same turn in which the body was handed over: nothing is kept for later. */
  readonly listen: (listener: BodyListener) => void;
  /** So many bytes have gone on their way, the first ones included: the sender may send as many more. */
  readonly consumed: (bytes: number) => void;
}

// Half a window of 1 MiB in this time is 50 MB/s, which needs no longer one.
const fastMs = 10;

/** Why a body that came in frames cannot be trusted. */
const broken = (what: string): BuskerError => new BuskerError("internal", `the streamed body is broken: ${what}`);

/** The receiving side of a streamed body: notices what is lost, doubled or sent without credit, and renews the credit. */
export class BodyReceiver implements IncomingBody {
  readonly #mostBytes: () => number;
  #windowBytes: number;
  readonly #nowMs: () => number;
  #renewedMs: number;
  readonly #grant: (totalBytes: number) => void;
  #listener: BodyListener | undefined;
  #number = 0;
  #receivedBytes: number;
  #consumedBytes = 0;
  #grantedBytes: number;
  #isOver = false;

  /** `receivedBytes` came with the request or the head, `grantedBytes` were granted beyond what is renewed here. */
  constructor(parts: {
    readonly receivedBytes: number;
    readonly grantedBytes: number;
    readonly windowBytes: number;
    /** What the window may grow to now. */
    readonly mostBytes: () => number;
    readonly grant: (totalBytes: number) => void;
    readonly nowMs?: () => number;
  }) {
    this.#nowMs = parts.nowMs ?? Date.now;
    this.#renewedMs = this.#nowMs();
    this.#mostBytes = parts.mostBytes;
    this.#receivedBytes = parts.receivedBytes;
    this.#grantedBytes = parts.grantedBytes;
    this.#windowBytes = parts.windowBytes;
    this.#grant = parts.grant;
  }

  /** Ended or failed. */
  get isOver(): boolean {
    return this.#isOver;
  }

  listen(listener: BodyListener): void {
    this.#listener = listener;
  }

  consumed(bytes: number): void {
    this.#consumedBytes += bytes;
    if (this.#isOver || this.#grantedBytes - this.#consumedBytes > this.#windowBytes / 2) return;
    this.#fitWindow();
    this.#grantedBytes = Math.max(this.#grantedBytes, this.#consumedBytes + this.#windowBytes);
    this.#grant(this.#grantedBytes);
  }

  /**
   * A reader that takes half a window in no time waits for the sender more than the other way round: it gets a longer one.
   * A slow one keeps what it has, so that what waits for slow readers stays little.
   */
  #fitWindow(): void {
    const now = this.#nowMs();
    const isFast = now - this.#renewedMs <= fastMs;
    this.#renewedMs = now;
    this.#windowBytes = Math.min(isFast ? this.#windowBytes * 2 : this.#windowBytes, this.#mostBytes());
  }

  /** Takes a `data` frame; gives the error when it shows that the body is broken, which the owner makes its end. */
  take(number: number, chunk: Uint8Array): BuskerError | undefined {
    if (this.#isOver) return undefined;
    const fault = this.#checkNumber(number);
    if (fault) return fault;
    this.#receivedBytes += chunk.length;
    if (this.#receivedBytes > this.#grantedBytes)
      return broken(`${this.#receivedBytes} bytes came where ${this.#grantedBytes} were granted`);
    if (!this.#listener) return broken("nobody reads it");
    this.#listener.onData(chunk);
    return undefined;
  }

  /** Takes the `end` frame; gives the error when something before it is missing. */
  end(number: number): BuskerError | undefined {
    if (this.#isOver) return undefined;
    const fault = this.#checkNumber(number);
    if (fault) return fault;
    this.#isOver = true;
    this.#listener?.onEnd();
    return undefined;
  }

  /** The body will never be complete. */
  fail(error: BuskerError): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#listener?.onError(error);
  }

  #checkNumber(number: number): BuskerError | undefined {
    this.#number += 1;
    return number === this.#number ? undefined : broken(`part ${number} came where part ${this.#number} was due`);
  }
}
