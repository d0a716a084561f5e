import { type MsgHdrs, nuid } from "nats";
import { maxPartBytes } from "../../schemas/call.ts";
import { BuskerError } from "../../schemas/errors.ts";
import { type FrameKind, type ResponseHead, wireHeaders } from "../../schemas/invocation.ts";
import type { AcknowledgedPublisher } from "./acknowledged.ts";
import type { BodyListener } from "./body-receiver.ts";
import { frameLine } from "./frames.ts";
import { HeaderBlock } from "./headers.ts";

/** How a response that was written in parts ended. */
export type PartsEnd =
  | { readonly kind: "complete"; readonly bytes: number }
  /** What there is of it ends with this error, or with nothing where the stream could not be written to any more. */
  | { readonly kind: "broken"; readonly error: BuskerError; readonly bytes: number };

/** What a writer needs. */
export interface WriterParts {
  readonly acknowledged: AcknowledgedPublisher;
  readonly subject: string;
  readonly head: ResponseHead;
  readonly maxBytes: number;
  /** So many bytes are kept: the function may send as many more. */
  readonly onKept: (bytes: number) => void;
  /** The response cannot be kept any further: its call is to be stopped. */
  readonly onGivenUp: () => void;
}

/** Parts that are on their way to the stream together: a cluster takes a few milliseconds for each. */
const maxOnTheirWay = 8;

const nothing = new Uint8Array();

const asKeepError = (cause: unknown): BuskerError => {
  const reason = cause instanceof Error ? cause.message : String(cause);
  // A full disk, too, is the platform's failure and passes.
  return new BuskerError("bus_unavailable", `the response could not be kept: ${reason}`, { cause });
};

/**
 * Writes one response to stream PARTS: `head 0`, `data 1` …, `end n` or `abort n`, each acknowledged. What comes while as
 * much is on its way as may be is put together, so that a slow response is seen at once and a fast one is few parts.
 */
export class PartsWriter implements BodyListener {
  /** Settles when the last part is kept, or cannot be. */
  readonly ended: Promise<PartsEnd>;
  readonly #parts: WriterParts;
  readonly #writer = nuid.next();
  #settle: (end: PartsEnd) => void = () => {};
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  #bytes = 0;
  #number = 0;
  #onTheirWay = 0;
  #isEnding = false;
  #isOver = false;

  constructor(parts: WriterParts) {
    this.#parts = parts;
    this.ended = new Promise((resolve) => (this.#settle = resolve));
  }

  /** Writes the head; settles when it is kept, or cannot be: then `ended` says why. */
  async open(): Promise<void> {
    // Somebody who was killed may have begun this one: what there is of it goes.
    const more = `Nats-Rollup: sub\r\n${wireHeaders.http}: ${JSON.stringify(this.#parts.head)}\r\n`;
    await this.#publish(this.#headers("head", 0, more), nothing);
  }

  onData(chunk: Uint8Array): void {
    if (this.#isOver || this.#isEnding || chunk.length === 0) return;
    this.#bytes += chunk.length;
    if (this.#bytes > this.#parts.maxBytes) return this.#giveUp(tooLarge(this.#parts.maxBytes));
    this.#held.push(chunk);
    this.#heldBytes += chunk.length;
    this.#flush();
  }

  onEnd(): void {
    this.#isEnding = true;
    this.#flush();
  }

  /** The response will never be complete. What has come of it is kept, and then why it ends. */
  onError(error: BuskerError): void {
    if (this.#isOver) return;
    while (this.#heldBytes > 0) this.#publishData();
    this.#isOver = true;
    void this.#last("abort", { kind: "broken", error, bytes: this.#bytes });
  }

  #headers(kind: FrameKind, number: number, more = ""): MsgHdrs {
    return HeaderBlock.of(`${frameLine(kind, number)}${wireHeaders.writer}: ${this.#writer}\r\n${more}`);
  }

  #flush(): void {
    if (this.#isOver) return;
    const isDue = (): boolean =>
      this.#heldBytes >= maxPartBytes || this.#isEnding ? this.#onTheirWay < maxOnTheirWay : this.#onTheirWay === 0;
    while (this.#heldBytes > 0 && isDue()) this.#publishData();
    if (!this.#isEnding || this.#heldBytes > 0) return;
    this.#isOver = true;
    void this.#last("end", { kind: "complete", bytes: this.#bytes });
  }

  #publishData(): void {
    const chunk = this.#take();
    this.#onTheirWay += 1;
    void this.#publish(this.#headers("data", (this.#number += 1)), chunk).then((isKept) => {
      this.#onTheirWay -= 1;
      if (!isKept) return;
      this.#parts.onKept(chunk.length);
      this.#flush();
    });
  }

  /** The next part. */
  #take(): Uint8Array {
    const all = this.#held.length === 1 ? this.#held[0] : Buffer.concat(this.#held, this.#heldBytes);
    const part = (all ?? nothing).subarray(0, maxPartBytes);
    const rest = (all ?? nothing).subarray(part.length);
    this.#held = rest.length > 0 ? [rest] : [];
    this.#heldBytes = rest.length;
    return part;
  }

  /** Kept behind all others, whose acknowledgements come before: one connection, one stream. */
  async #last(kind: "end" | "abort", end: PartsEnd): Promise<void> {
    const error = end.kind === "broken" ? end.error : undefined;
    const more = error === undefined ? "" : `${wireHeaders.error}: ${error.code}\r\n`;
    const headers = this.#headers(kind, this.#number + 1, more);
    if (await this.#publish(headers, Buffer.from(error?.message ?? ""))) this.#settle(end);
    // An abort that cannot be kept is one nevertheless.
    else if (error) this.#settle(end);
  }

  async #publish(headers: MsgHdrs, payload: Uint8Array): Promise<boolean> {
    try {
      await this.#parts.acknowledged.publish(this.#parts.subject, payload, headers);
      return true;
    } catch (cause) {
      this.#fail(asKeepError(cause));
      return false;
    }
  }

  #giveUp(error: BuskerError): void {
    this.onError(error);
    this.#parts.onGivenUp();
  }

  /** A part was not kept, so that none behind it is of use. Also when the end is on its way already. */
  #fail(error: BuskerError): void {
    const wasOver = this.#isOver;
    this.#isOver = true;
    this.#held = [];
    this.#heldBytes = 0;
    this.#settle({ kind: "broken", error, bytes: this.#bytes });
    if (!wasOver) this.#parts.onGivenUp();
  }
}

const tooLarge = (maxBytes: number): BuskerError =>
  new BuskerError(
    "response_too_large",
    `the function's response is larger than ${maxBytes} bytes, the most that is kept`,
  );
