import {
  AckPolicy,
  type ConsumerMessages,
  DeliverPolicy,
  jetstream,
  jetstreamManager,
  type JsMsg,
} from "@nats-io/jetstream";
import { nanos } from "nats";
import { BuskerError } from "../../schemas/errors.ts";
import type { EventType } from "../../schemas/events.ts";
import type { StreamDefinition } from "../../schemas/topology.ts";
import type { Bus } from "./connection.ts";
import { encodeEvent, type Publication } from "./events.ts";

/** What became of one delivery: one exhaustive switch acks, naks or terminates. */
export type Disposition =
  | { readonly kind: "done" }
  | { readonly kind: "retry"; readonly delayMs: number }
  | { readonly kind: "dead"; readonly reason: string };

/** Publishes an event and waits until its stream has it. Repeats with the same id are swallowed. Gives the event's id. */
export const publishDurably = async <T extends EventType>(bus: Bus, event: Publication<T>): Promise<string> => {
  bus.assertConnected();
  const { id, headers, payload } = encodeEvent(bus.source, event);
  await jetstream(bus.nc)
    .publish(event.subject, payload, { headers, msgID: "", timeout: 5000 })
    .catch((cause: unknown) => {
      throw new BuskerError("bus_unavailable", `no stream has acknowledged ${event.subject}`, { cause });
    });
  return id;
};

/** A durable pull consumer. */
export interface ConsumerOptions {
  readonly stream: StreamDefinition;
  /** Its name: several processes that give the same one share the work. */
  readonly durable: string;
  readonly filters: readonly string[];
  /** Deliveries at a time in this process. */
  readonly concurrency: number;
  /** How long a silent holder keeps a delivery; extended while the handler runs. */
  readonly leaseMs: number;
}

const extendLease = (message: JsMsg, leaseMs: number): (() => void) => {
  const timer = setInterval(() => message.working(), leaseMs / 3);
  return () => clearInterval(timer);
};

const settle = (message: JsMsg, disposition: Disposition): void => {
  switch (disposition.kind) {
    case "done":
      return message.ack();
    case "retry":
      return message.nak(disposition.delayMs);
    case "dead":
      return message.term(disposition.reason);
  }
};

const handle = async (
  message: JsMsg,
  leaseMs: number,
  handler: (message: JsMsg) => Promise<Disposition>,
): Promise<void> => {
  const release = extendLease(message, leaseMs);
  try {
    settle(message, await handler(message));
  } catch {
    // A handler decides by data; one that throws has decided nothing, so the message comes again.
    settle(message, { kind: "retry", delayMs: 1000 });
  } finally {
    release();
  }
};

const ensureConsumer = async (bus: Bus, options: ConsumerOptions): Promise<void> => {
  const manager = await jetstreamManager(bus.nc);
  await manager.consumers.add(options.stream.name, {
    durable_name: options.durable,
    ack_policy: AckPolicy.Explicit,
    ack_wait: nanos(options.leaseMs),
    deliver_policy: DeliverPolicy.All,
    max_ack_pending: Math.max(1, options.concurrency * 4),
    // One filter in the field every server knows; several need 2.10, so a subject pattern must cover them on 2.9.
    ...(options.filters.length === 1 ? { filter_subject: options.filters[0] ?? ">" } : { filter_subjects: [...options.filters] }),
  });
};

/**
 * Consumes a stream durably: at least once, `concurrency` messages at a time, the lease extended while a handler runs.
 * Goes on over a restart of the server. Gives a function that stops taking and waits for what is being handled.
 */
export const consumeDurably = async (
  bus: Bus,
  options: ConsumerOptions,
  handler: (message: JsMsg) => Promise<Disposition>,
): Promise<() => Promise<void>> => {
  await ensureConsumer(bus, options);
  const consumer = await jetstream(bus.nc).consumers.get(options.stream.name, options.durable);
  const running = new Set<Promise<void>>();
  let stopped = false;
  let messages: ConsumerMessages | undefined;
  const loop = (async () => {
    while (!stopped) {
      try {
        messages = await consumer.consume({ max_messages: options.concurrency, expires: 5000 });
        for await (const message of messages) {
          const work: Promise<void> = handle(message, options.leaseMs, handler).finally(() => running.delete(work));
          running.add(work);
          if (running.size >= options.concurrency) await Promise.race(running);
        }
      } catch {
        // The server is away, or the consumer was taken with its stream: both are made again.
      }
      if (!stopped) await pause(500);
      if (!stopped) await ensureConsumer(bus, options).catch(() => {});
    }
  })();
  return async () => {
    stopped = true;
    await messages?.close();
    await loop;
    await Promise.all(running);
  };
};

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms).unref());

/** One message read from a stream. */
export interface StreamMessage {
  readonly subject: string;
  readonly data: Uint8Array;
  /** Milliseconds since the epoch: when the stream took it. */
  readonly atMs: number;
  /** Messages that match and come after it. */
  readonly pending: number;
}

/** What part of a stream to read. */
export interface ReadOptions {
  readonly stream: StreamDefinition;
  readonly filter: string;
  readonly since: Date;
}

/**
 * Reads a stream in order from a time on, what is there and then what comes. `onMessage` gets each; `onCaughtUp` is
 * called when everything that was there has been told. Gives a function that stops it.
 */
export const readStream = async (
  bus: Bus,
  options: ReadOptions,
  onMessage: (message: StreamMessage) => void,
  onCaughtUp: () => void,
): Promise<() => void> => {
  bus.assertConnected();
  const consumer = await jetstream(bus.nc).consumers.get(options.stream.name, {
    filter_subjects: options.filter,
    deliver_policy: DeliverPolicy.StartTime,
    opt_start_time: options.since.toISOString(),
  });
  const info = await consumer.info();
  if (info.num_pending === 0) onCaughtUp();
  const messages = await consumer.consume({ max_messages: 1000 });
  let caughtUp = info.num_pending === 0;
  void (async () => {
    for await (const message of messages) {
      onMessage({
        subject: message.subject,
        data: message.data,
        atMs: message.info.timestampNanos / 1e6,
        pending: message.info.pending,
      });
      if (!caughtUp && message.info.pending === 0) {
        caughtUp = true;
        onCaughtUp();
      }
    }
  })();
  return () => {
    void messages.close();
  };
};
