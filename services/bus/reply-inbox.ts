import type { Msg } from "nats";
import { createInbox } from "nats";
import { inboxPrefix } from "../../schemas/subjects.ts";
import type { Bus } from "./connection.ts";

/** Takes one message; the inbox keeps the token until `forget`. */
export type ReplyListener = (message: Msg) => void;

/**
 * One inbox subscription for all replies of this process: a reply's last token says whom it is for. Cheaper than the
 * library's request(), which makes a promise, a timer and a random subject each time (design §8).
 */
export interface ReplyInbox {
  /** What every reply subject of this inbox begins with, without the final dot: names this caller to replicas. */
  readonly prefix: string;
  /** A new reply subject and its token; messages to it go to `listener`. */
  readonly expect: (listener: ReplyListener) => { readonly token: number; readonly subject: string };
  readonly forget: (token: number) => void;
  /** Tokens not yet forgotten. */
  readonly pending: () => number;
  readonly close: () => void;
}

const radix = 36;

/** Opens an inbox under the user's own reply prefix. */
export const openReplyInbox = (bus: Bus): ReplyInbox => {
  const prefix = createInbox(inboxPrefix(bus.user));
  const listeners = new Map<number, ReplyListener>();
  let last = 0;
  const subscription = bus.nc.subscribe(`${prefix}.*`, {
    callback: (error, message) => {
      if (error) return;
      const token = Number.parseInt(message.subject.slice(prefix.length + 1), radix);
      listeners.get(token)?.(message);
    },
  });
  return {
    prefix,
    expect: (listener) => {
      last += 1;
      listeners.set(last, listener);
      return { token: last, subject: `${prefix}.${last.toString(radix)}` };
    },
    forget: (token) => listeners.delete(token),
    pending: () => listeners.size,
    close: () => subscription.unsubscribe(),
  };
};
