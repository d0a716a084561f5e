import { AckPolicy, DeliverPolicy, type JetStreamManager } from "@nats-io/jetstream";
import { createInbox, type Msg, nanos } from "nats";
import { setTimeout as pause } from "node:timers/promises";
import { BuskerError } from "../../schemas/errors.ts";
import { inboxPrefix } from "../../schemas/subjects.ts";
import type { Bus } from "./connection.ts";
import { headerStatus, headerText } from "./headers.ts";
import { untilConnected } from "./until-connected.ts";

/** What a message means to its reader. */
export type Taken =
  | "more"
  /** No more before `resume`, except what is on its way. */
  | "hold"
  /** One before it is missing, and may come from a new consumer. */
  | "missing"
  /** It was the last one. */
  | "end"
  /** Nothing more is of use: why. */
  | BuskerError;

/** Where a message stands. */
export interface MessagePlace {
  readonly seq: number;
  /** Messages that are to be read behind it. */
  readonly pending: number;
}

/** What is to be read. */
export interface ViewParts {
  readonly bus: Bus;
  readonly manager: () => Promise<JetStreamManager>;
  readonly stream: string;
  /** The one subject that is read, or a filter. */
  readonly subject: string;
  /** Without what messages hold. */
  readonly headersOnly?: boolean;
  /** In the stream, where the next message is at the earliest. */
  readonly startSeq: number;
  /** The moment from which on nothing is waited for any more, and the error that says so. */
  readonly until?: { readonly ms: number; readonly overdue: BuskerError };
  /** Takes the next message. `isFirst`: none is between it and the place that was asked for, so that what is missing is gone. */
  readonly take: (data: Uint8Array, headers: string, isFirst: boolean, place: MessagePlace) => Taken;
  /** Exactly one of `onEnd` and `onError` is called, unless it is stopped. */
  readonly onEnd: () => void;
  readonly onError: (error: BuskerError) => void;
  /** Called once, whatever ended it, before these. */
  readonly onOver: () => void;
}

/** Asked for at a time, and so held at most while a reader is slow. */
const pullBatch = 256;
const pullBytes = 512 * 1024;

/** How long the server keeps a request for more, and how often it says that it still has it. */
const pullMs = 30_000;
const heartbeatMs = 3000;

/** When nothing more can come, what is there comes within this. */
const lastPullMs = 300;

/** A consumer that nobody asks is removed by the server: its gateway is gone, or its client slow; then another is made. */
const idleConsumerMs = 10_000;

const againMs = 100;

/** A replica may write any deadline, and Node's timers end at once beyond this. */
const longestTimerMs = 2 ** 31 - 1;

/** How a request for more ended. */
type PullEnd = "full" | "empty" | "reopen";

/** The place of a message in its stream, by the subject for its acknowledgement (nats-architecture-and-design, ADR-15). */
const placeOf = (message: Msg): MessagePlace => {
  const tokens = (message.reply ?? "").split(".");
  const [seq, , , pending] = tokens.slice(tokens.length === 9 ? 5 : 7);
  return { seq: Number(seq), pending: Number(pending) };
};

/** Bytes of a message as the server counts them. */
const sizeOf = (message: Msg, headers: string): number =>
  message.subject.length + (message.reply ?? "").length + Buffer.byteLength(headers) + message.data.length;

const endOfStatus = (status: number, headers: string): PullEnd | undefined => {
  if (status === 100) return undefined;
  if (status === 404 || status === 408) return "empty";
  return status === 409 && headers.includes("MaxBytes") ? "full" : "reopen";
};

/**
 * One reader of one subject of a stream: each message once and in order, over losses of the server too. It asks for more
 * only when its client has taken what came, so that a slow one holds up nobody.
 */
export class StreamView {
  readonly #parts: ViewParts;
  readonly #stopping = new AbortController();
  readonly #timer: NodeJS.Timeout | undefined;
  #seq: number;
  #isOver = false;
  #isHeld = false;
  /** Nothing more comes beyond what is there: why. */
  #lost: BuskerError | undefined;
  /** Ends the request for more that is open, or the wait for the client. */
  #wake: (end: PullEnd) => void = () => {};
  /** Ends the wait for the client only: what was asked for is on its way. */
  #release: () => void = () => {};

  constructor(parts: ViewParts) {
    this.#parts = parts;
    this.#seq = parts.startSeq;
    this.#timer = parts.until && this.#loseAt(parts.until);
    void this.#run();
  }

  /** The client has taken what there was. */
  resume(): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    this.#release();
  }

  /** Nothing more will come: what is there is read, then it ends with this error. */
  lose(error: BuskerError): void {
    if (this.#isOver || this.#lost) return;
    this.#lost = error;
    if (!this.#parts.bus.isConnected()) this.#fail(error);
    else if (!this.#isHeld) this.#wake("reopen");
  }

  /** The client is gone. */
  stop(): void {
    this.#finish(() => {});
  }

  #loseAt({ ms, overdue }: NonNullable<ViewParts["until"]>): NodeJS.Timeout {
    const leftMs = Math.min(Math.max(0, ms - Date.now()), longestTimerMs);
    return setTimeout(() => this.lose(overdue), leftMs).unref();
  }

  #finish(tell: () => void): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#stopping.abort();
    this.#wake("reopen");
    this.#parts.onOver();
    tell();
  }

  #fail(error: BuskerError): void {
    this.#finish(() => this.#parts.onError(error));
  }

  async #run(): Promise<void> {
    const { bus } = this.#parts;
    while (!this.#isOver && !bus.nc.isClosed()) {
      try {
        if (this.#lost && !bus.isConnected()) throw this.#lost;
        await untilConnected(bus, this.#stopping.signal);
        await this.#follow();
      } catch {
        // The server is away, or JetStream not there yet: tried again until its time is over.
        if (this.#lost) this.#fail(this.#lost);
      }
      await pause(againMs, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
    }
  }

  /** Reads through one consumer for as long as it is there. */
  async #follow(): Promise<void> {
    const { bus, subject, stream, headersOnly = false } = this.#parts;
    const manager = await this.#parts.manager();
    const { name } = await manager.consumers.add(stream, {
      ack_policy: AckPolicy.None,
      deliver_policy: DeliverPolicy.StartSequence,
      opt_start_seq: this.#seq,
      filter_subject: subject,
      headers_only: headersOnly,
      inactive_threshold: nanos(idleConsumerMs),
      mem_storage: true,
    });
    const unlisten = bus.onChange((connected) => {
      if (!connected) this.#wake("reopen");
    });
    try {
      let isFirst = true;
      for (let end: PullEnd = "full"; end !== "reopen" && !this.#isOver;) {
        if (this.#isHeld) end = await this.#untilReleased();
        else {
          end = await this.#pull(name, isFirst);
          isFirst = false;
          if (end === "empty" && this.#lost) return this.#fail(this.#lost);
        }
      }
    } finally {
      unlisten();
      // Without the answer: where the server is away it is gone anyway, or soon.
      if (bus.isConnected()) manager.consumers.delete(stream, name).catch(() => undefined);
    }
  }

  /** Waits for the client; after a while the consumer may have been removed, and a request to it is not answered. */
  #untilReleased(): Promise<PullEnd> {
    const sinceMs = Date.now();
    return new Promise((resolve) => {
      this.#wake = resolve;
      this.#release = () => resolve(Date.now() - sinceMs < idleConsumerMs / 2 ? "full" : "reopen");
    });
  }

  #pull(consumer: string, isFirst: boolean): Promise<PullEnd> {
    const { bus, stream } = this.#parts;
    const inbox = createInbox(inboxPrefix(bus.user));
    let left = pullBatch;
    let leftBytes = pullBytes;
    let isExact = isFirst;
    let settle: (end: PullEnd) => void = () => {};
    const ended = new Promise<PullEnd>((resolve) => (settle = this.#wake = resolve));
    const silence = setTimeout(() => settle("reopen"), heartbeatMs * 2 + 500).unref();
    const subscription = bus.nc.subscribe(inbox, {
      callback: (error, message) => {
        if (error || this.#isOver) return settle("reopen");
        silence.refresh();
        const headers = headerText(message);
        const status = headerStatus(headers);
        if (status > 0) {
          const end = endOfStatus(status, headers);
          if (end === "full" && left === pullBatch) this.#fail(tooLarge);
          if (end) settle(end === "empty" && left < pullBatch ? "full" : end);
          return;
        }
        left -= 1;
        leftBytes -= sizeOf(message, headers);
        if (!this.#take(message, headers, isExact)) settle("reopen");
        else if (left <= 0 || leftBytes <= 0) settle("full");
        isExact = false;
      },
    });
    bus.nc.publish(`$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`, JSON.stringify(this.#request()), {
      reply: inbox,
    });
    return ended.finally(() => {
      clearTimeout(silence);
      subscription.unsubscribe();
    });
  }

  #request(): object {
    const common = { batch: pullBatch, max_bytes: pullBytes };
    return this.#lost
      ? { ...common, expires: nanos(lastPullMs) }
      : { ...common, expires: nanos(pullMs), idle_heartbeat: nanos(heartbeatMs) };
  }

  /** Takes one message; false when one before it is missing and may come again from a new consumer. */
  #take(message: Msg, headers: string, isFirst: boolean): boolean {
    const place = placeOf(message);
    const taken = this.#parts.take(message.data, headers, isFirst, place);
    if (taken === "missing") return false;
    this.#seq = place.seq + 1;
    if (taken === "end") this.#finish(this.#parts.onEnd);
    else if (taken === "hold") this.#isHeld = true;
    else if (taken !== "more") this.#fail(taken);
    return true;
  }
}

const tooLarge = new BuskerError("internal", "the stream is broken: a message is larger than one may be");
