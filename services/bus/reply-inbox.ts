import { type Msg, nuid } from "nats";
import type { FunctionName } from "../../schemas/names.ts";
import { callReplyOwnFilter, callReplyPrefix } from "../../schemas/subjects.ts";
import type { Bus } from "./connection.ts";

/** Takes one message; the inbox keeps the token until `forget`. */
export type ReplyListener = (message: Msg) => void;

/**
 * One inbox subscription for all replies of this process: a reply's last token says whom it is for. Cheaper than the
 * library's request(), which makes a promise, a timer and a random subject each time (design §8).
 */
export interface ReplyInbox {
  /** A way to expect replies from the replicas of one function, who may answer on its subjects only. */
  readonly forFunction: (name: FunctionName) => FunctionReplies;
  /** Tokens not yet forgotten. */
  readonly pending: () => number;
  readonly close: () => void;
}

/** Replies of one function. */
export interface FunctionReplies {
  /** A new reply subject and its token; messages to it go to `listener` until the token is forgotten. */
  readonly expect: (listener: ReplyListener) => { readonly token: number; readonly subject: string };
  readonly forget: (token: number) => void;
}

const radix = 36;

/** Opens an inbox under the user's own reply prefix. What stands before a reply subject's token names this caller to replicas. */
export const openReplyInbox = (bus: Bus): ReplyInbox => {
  const instance = nuid.next();
  const listeners = new Map<number, { readonly subject: string; readonly listener: ReplyListener }>();
  let last = 0;
  const subscription = bus.nc.subscribe(callReplyOwnFilter(bus.user, instance), {
    callback: (error, message) => {
      if (error) return;
      const { subject } = message;
      const token = Number.parseInt(subject.slice(subject.lastIndexOf(".") + 1), radix);
      // The whole subject, not its token alone: a replica of another function may publish to a subject of its own
      // function with a token that it guessed.
      const expected = listeners.get(token);
      if (expected?.subject === subject) expected.listener(message);
    },
  });
  return {
    forFunction: ({ namespace, name }) => {
      const prefix = `${callReplyPrefix(bus.user, namespace, name)}.${instance}`;
      return {
        expect: (listener) => {
          last += 1;
          const subject = `${prefix}.${last.toString(radix)}`;
          listeners.set(last, { subject, listener });
          return { token: last, subject };
        },
        forget: (token) => listeners.delete(token),
      };
    },
    pending: () => listeners.size,
    close: () => subscription.unsubscribe(),
  };
};
