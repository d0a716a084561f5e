import { windowBytes } from "../../schemas/invocation.ts";

/** Shares the memory that streams of one process may take: the more of them are open, the smaller each one's window. */
export class WindowShare {
  #open = 0;

  /** Streams that are open now. */
  get open(): number {
    return this.#open;
  }

  /** The window of one more stream, in bytes. */
  next(): number {
    const share = Math.floor(windowBytes.all / (this.#open + 1));
    return Math.min(windowBytes.most, Math.max(windowBytes.least, share));
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
