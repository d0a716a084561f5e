import { BuskerError } from "../schemas/errors.ts";
import {
  countKeptEvent,
  formatEventId,
  keptLead,
  keptPatienceMs,
  maxEventBytes,
  unlimitedCredit,
} from "../schemas/invocation.ts";
import type { BodySink } from "../services/bus/body-sender.ts";
import type { Bus } from "../services/bus/connection.ts";
import { encodeFrame } from "../services/bus/frames.ts";
import { createEventSplitter, type EventBlock } from "./event-splitter.ts";

/** What the events of one answer are kept with. */
export interface KeptSinkParts {
  readonly bus: Bus;
  /** The id under which they are kept, and the subject of its parts. */
  readonly id: string;
  readonly subject: string;
  /** The body cannot be kept: its function is to be stopped. */
  readonly onFault: (error: BuskerError) => void;
  /** Which error is told where the body ended with this one. */
  readonly toldOf: (error: BuskerError | undefined) => BuskerError | undefined;
  /** The last part has gone, or waits for the bus to come back; with the error that was told. */
  readonly onLast: (error: BuskerError | undefined) => void;
}

// Nothing is acknowledged: after so many bytes a round trip shows that the server has taken them.
const roundTripBytes = 256 * 1024;

const endOfEvent = Buffer.from("\n");

const asFault = (cause: unknown): BuskerError =>
  cause instanceof BuskerError ? cause : new BuskerError("internal", "an event could not be kept", { cause });

const encodeEvent = (id: string, number: number, { lines, ownId }: EventBlock): Uint8Array =>
  Buffer.concat([
    Buffer.from(`id: ${formatEventId(id, number)}${ownId.length > 0 ? ":" : ""}`),
    ownId,
    endOfEvent,
    lines,
    endOfEvent,
  ]);

/** Calls `act` as soon as the bus is there. */
const whenConnected = (bus: Bus, act: () => void): void => {
  if (bus.isConnected()) return act();
  const forget = bus.onChange((connected) => {
    if (!connected) return;
    forget();
    act();
  });
};

/** Where the body of a kept answer goes: event by event, no further ahead of its caller's client than `keptLead`. */
export class KeptSink implements BodySink {
  onDrain: () => void = () => {};
  readonly #parts: KeptSinkParts;
  readonly #splitter = createEventSplitter(maxEventBytes);
  #held: Uint8Array[] = [];
  /** What is left of the chunk before those, and its first block. */
  #blocks: Iterator<EventBlock, void> | undefined;
  #block: EventBlock | undefined;
  #number = 0;
  #sentBytes = 0;
  #creditBytes: number = keptLead.bytes;
  #unconfirmedBytes = 0;
  #isConfirming = false;
  #patience: NodeJS.Timeout | undefined;
  /** The caller's client has not moved for long. */
  #isAlone = false;
  #isPaused = false;
  #isEnding = false;
  #isBroken = false;
  #isOver = false;

  constructor(parts: KeptSinkParts) {
    this.#parts = parts;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  write(chunk: Uint8Array): boolean {
    if (this.#isOver || this.#isEnding || this.#isBroken) return true;
    this.#held.push(chunk);
    this.#flush();
    this.#isPaused = this.#mustWait;
    return !this.#isPaused;
  }

  end(): void {
    if (this.#isOver) return;
    this.#isEnding = true;
    this.#flush();
  }

  abort(error: BuskerError): void {
    this.#last(error);
  }

  /** The caller's client has taken so much that the answer may go so far, in bytes as `keptLead` counts them. */
  grant(totalBytes: number): void {
    if (this.#isOver || totalBytes <= this.#creditBytes) return;
    this.#creditBytes = totalBytes;
    this.#isAlone = false;
    this.#stopPatience();
    if (this.#isAhead) this.#startPatience();
    this.#goOn();
  }

  /** The call is being stopped: what is here when its function has ended well waits for no client any more. */
  hurry(fault: BuskerError | undefined): void {
    if (this.#isEnding && fault) this.#last(fault);
    else this.grant(unlimitedCredit);
  }

  get #isAhead(): boolean {
    return !this.#isAlone && this.#sentBytes >= this.#creditBytes;
  }

  get #mustWait(): boolean {
    return this.#isConfirming || this.#isAhead;
  }

  #goOn(): void {
    this.#flush();
    if (!this.#isPaused || this.#isOver || this.#mustWait) return;
    this.#isPaused = false;
    this.onDrain();
  }

  #flush(): void {
    if (this.#isOver || this.#isBroken) return;
    try {
      for (let block = this.#peek(); block; block = this.#peek()) {
        if (this.#mustWait) return;
        this.#block = undefined;
        this.#publish(block);
      }
    } catch (error) {
      this.#isBroken = true;
      this.#held = [];
      // Not at once: who writes may not have been told yet how to stop.
      queueMicrotask(() => this.#parts.onFault(asFault(error)));
      return;
    }
    if (this.#isEnding) this.#last(undefined);
  }

  /** The next block; undefined when none is complete. */
  #peek(): EventBlock | undefined {
    while (!this.#block) {
      const next = this.#blocks?.next();
      if (next && !next.done) this.#block = next.value;
      else {
        const chunk = this.#held.shift();
        this.#blocks = chunk && this.#splitter.push(chunk);
        if (!chunk) return undefined;
      }
    }
    return this.#block;
  }

  #publish(block: EventBlock): void {
    const { bus, id, subject } = this.#parts;
    const event = encodeEvent(id, (this.#number += 1), block);
    bus.nc.publish(subject, event, { headers: encodeFrame("data", this.#number) });
    this.#sentBytes += countKeptEvent(event.length);
    this.#unconfirmedBytes += event.length;
    if (this.#unconfirmedBytes >= roundTripBytes) void this.#confirm();
    if (this.#isAhead) this.#startPatience();
  }

  async #confirm(): Promise<void> {
    this.#isConfirming = true;
    // Fails when the bus goes away, which ends the call.
    await this.#parts.bus.nc.flush().catch(() => {});
    this.#isConfirming = false;
    this.#unconfirmedBytes = 0;
    this.#goOn();
  }

  #startPatience(): void {
    this.#patience ??= setTimeout(() => {
      this.#patience = undefined;
      this.#isAlone = true;
      this.#goOn();
    }, keptPatienceMs).unref();
  }

  #stopPatience(): void {
    clearTimeout(this.#patience);
    this.#patience = undefined;
  }

  #last(given: BuskerError | undefined): void {
    // One that is broken ends with its fault, which is on its way.
    if (this.#isOver || (this.#isBroken && !given)) return;
    this.#isOver = true;
    this.#held = [];
    this.#stopPatience();
    const { bus, subject, toldOf, onLast } = this.#parts;
    const error = toldOf(given);
    const headers = encodeFrame(error ? "abort" : "end", this.#number + 1, error?.code);
    // Here first: the caller takes its slot for free once it hears of the end.
    whenConnected(bus, () => bus.nc.publish(subject, error?.message ?? "", { headers }));
    onLast(error);
  }
}
