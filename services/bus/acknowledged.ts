import { type MsgHdrs, nuid } from "nats";
import { BuskerError } from "../../schemas/errors.ts";
import { inboxPrefix } from "../../schemas/subjects.ts";
import type { Bus, BusMessage } from "./connection.ts";
import { headerStatus, headerText } from "./headers.ts";
import { storageFull, wrongLastSequence } from "./jetstream-errors.ts";

/** What a stream says of a message that it has. */
export interface Acknowledgement {
  readonly seq: number;
  /** It had one with this message id already; `seq` is of that one. */
  readonly isDuplicate: boolean;
}

/** Publishes to streams and waits until they say that they have it: one inbox for all, for the reason given at `openReplyInbox`. */
export interface AcknowledgedPublisher {
  /**
   * Rejects with `conflict` where the subject has moved on from the sequence that the headers expect, with `queue_full` where the
   * stream has no room, and with `bus_unavailable` when no stream answers: it may have the message nevertheless, so
   * whoever repeats gives a message id.
   */
  readonly publish: (subject: string, payload: Uint8Array | string, headers: MsgHdrs) => Promise<Acknowledgement>;
  readonly close: () => void;
}

interface Waiter {
  readonly subject: string;
  readonly giveUpMs: number;
  readonly resolve: (ack: Acknowledgement) => void;
  readonly reject: (error: BuskerError) => void;
}

const ackMs = 5000;
// Silences are looked at this often: one coarse timer, not one a message.
const tickMs = 250;
const radix = 36;

/** What JetStream answers to a publisher (ADR-1 of nats-architecture-and-design). */
interface PubAck {
  readonly seq?: number;
  readonly duplicate?: boolean;
  readonly error?: { readonly err_code?: number; readonly description?: string };
}

const errorOf = (subject: string, { err_code: code, description }: NonNullable<PubAck["error"]>): BuskerError => {
  if (code === wrongLastSequence)
    return new BuskerError("conflict", `${subject} was changed by somebody else at the same time`);
  if (storageFull.has(code ?? 0))
    return new BuskerError("queue_full", `the stream of ${subject} is full: ${description}`);
  return new BuskerError("bus_unavailable", `the stream of ${subject} did not take a message: ${description}`);
};

const settle = (waiter: Waiter, message: BusMessage): void => {
  if (headerStatus(headerText(message)) === 503)
    return waiter.reject(new BuskerError("bus_unavailable", `no stream takes ${waiter.subject}, or not now`));
  const ack = message.json<PubAck>();
  if (ack.error) waiter.reject(errorOf(waiter.subject, ack.error));
  else waiter.resolve({ seq: ack.seq ?? 0, isDuplicate: ack.duplicate === true });
};

/** Opens a publisher on a connection. */
export const openAcknowledged = (bus: Bus): AcknowledgedPublisher => {
  const prefix = `${inboxPrefix(bus.user)}.ack.${nuid.next()}`;
  const waiters = new Map<string, Waiter>();
  let last = 0;
  const subscription = bus.nc.subscribe(`${prefix}.*`, {
    callback: (error, message) => {
      const token = message.subject.slice(prefix.length + 1);
      const waiter = error ? undefined : waiters.get(token);
      if (!waiter) return;
      waiters.delete(token);
      settle(waiter, message);
    },
  });
  const failWhere = (why: string, isOver: (waiter: Waiter) => boolean): void => {
    for (const [token, waiter] of waiters)
      if (isOver(waiter)) {
        waiters.delete(token);
        waiter.reject(new BuskerError("bus_unavailable", `no stream has acknowledged ${waiter.subject}: ${why}`));
      }
  };
  const timer = setInterval(() => {
    const now = Date.now();
    failWhere(`none answered within ${ackMs} ms`, (waiter) => now >= waiter.giveUpMs);
  }, tickMs).unref();
  const unlisten = bus.onChange((connected) => {
    if (!connected) failWhere("the server went away", () => true);
  });
  return {
    publish: (subject, payload, headers) =>
      new Promise((resolve, reject) => {
        bus.assertConnected();
        const token = (last += 1).toString(radix);
        bus.nc.publish(subject, payload, { headers, reply: `${prefix}.${token}` });
        waiters.set(token, { subject, giveUpMs: Date.now() + ackMs, resolve, reject });
      }),
    close: () => {
      clearInterval(timer);
      unlisten();
      subscription.unsubscribe();
      failWhere("its publisher was closed", () => true);
    },
  };
};
