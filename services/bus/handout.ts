import type { Bus } from "./connection.ts";

/** What the server says of a message that a consumer hands out, in the message's reply subject. */
export interface Handout {
  readonly consumer: string;
  /** 1 the first time. */
  readonly deliveryCount: number;
  /** The message's number in its stream. */
  readonly seq: number;
  /** When the stream got it, milliseconds since the epoch. */
  readonly storedMs: number;
  /** Messages that the consumer has not handed out yet, as the server counts them. */
  readonly pending: number;
}

const prefix = "$JS.ACK.";
// Of `$JS.ACK.<stream>.<consumer>.<count>.<seq>.<consumer seq>.<time>.<pending>`; later servers put two tokens more
// before the stream's name (ADR-15 of nats-architecture-and-design).
const shortTokens = 9;
const moreTokens = 2;
const nanosPerMs = 1_000_000;

/** Reads a reply subject; undefined when it is not one that a consumer made. */
export const readHandout = (reply: string | undefined): Handout | undefined => {
  if (!reply?.startsWith(prefix)) return undefined;
  const tokens = reply.split(".");
  const at = tokens.length === shortTokens ? 3 : 3 + moreTokens;
  const consumer = tokens[at];
  const [deliveryCount, seq, , storedNanos, pending] = tokens.slice(at + 1, at + 6).map(Number);
  if (consumer === undefined || deliveryCount === undefined || seq === undefined || pending === undefined)
    return undefined;
  return { consumer, deliveryCount, seq, storedMs: (storedNanos ?? 0) / nanosPerMs, pending };
};

/** What may be said of a message that was handed out. */
export type Verdict =
  /** It is done with. */
  | { readonly kind: "done" }
  /** It comes again after so long. */
  | { readonly kind: "retry"; readonly delayMs: number }
  /** It never comes again: it cannot be read. */
  | { readonly kind: "unreadable" }
  /** Its holder is still at it: the lease begins anew. */
  | { readonly kind: "working" };

const wordOf = (verdict: Verdict): string => {
  switch (verdict.kind) {
    case "done":
      return "+ACK";
    case "retry":
      return `-NAK {"delay":${Math.max(0, Math.ceil(verdict.delayMs)) * nanosPerMs}}`;
    case "unreadable":
      return "+TERM";
    case "working":
      return "+WPI";
  }
};

/** Says it to the consumer, without waiting; while the server is away it is lost, and false is given. */
export const sayOf = (bus: Bus, reply: string, verdict: Verdict): boolean => {
  if (!bus.isConnected() || bus.nc.isClosed()) return false;
  bus.nc.publish(reply, wordOf(verdict));
  return true;
};
