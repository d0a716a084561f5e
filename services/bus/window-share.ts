import { windowBytes } from "../../schemas/invocation.ts";

/** Shares the memory that streams of one process may take: the more of them are open, the smaller each one's window. */
export class WindowShare {
  #open = 0;

  /** Streams that are open now. */
  get open(): number {
    return this.#open;
  }

  /** The first window of one more stream, in bytes. */
  next(): number {
    return Math.min(windowBytes.first, this.#share(this.#open + 1));
  }

  /** What the window of a stream that is open may grow to, in bytes. */
  most(): number {
    return Math.min(windowBytes.most, this.#share(this.#open));
  }

  #share(streams: number): number {
    return Math.max(windowBytes.least, Math.floor(windowBytes.all / Math.max(1, streams)));
  }

  /** A stream has opened. */
  take(): void {
    this.#open += 1;
  }

  /** A stream has ended. */
  giveBack(): void {
    this.#open -= 1;
  }
}
