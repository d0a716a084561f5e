import { type Msg, nuid } from "nats";
import { BuskerError } from "../../schemas/errors.ts";
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
  /** `isAnswered` says that the one message expected has come, and nothing more will. */
  readonly forget: (token: number, isAnswered: boolean) => void;
}

const radix = 36;

// A token is a place and how often its subject was given up: this many places at most.
const maxPlaces = 2 ** 20;

/** Where one reply is expected; used again when it is forgotten, for the reason given at `Bag`. */
interface Place {
  token: number;
  prefix: string;
  subject: string;
  listener: ReplyListener | undefined;
}

/**
 * The places of an inbox. A place whose reply has come keeps its subject for the next call: the server looks up whom a
 * subject goes to and who may publish to it, and remembers a few hundred answers, so that subjects that are never used
 * again cost it a search and a cache entry each. One whose reply may still come gets a new subject instead, so that no
 * call is ever given the answer to another.
 */
const createPlaces = () => {
  const places: Place[] = [];
  const free: Place[] = [];
  const make = (): Place => {
    const place: Place = { token: places.length, prefix: "", subject: "", listener: undefined };
    if (places.length >= maxPlaces) throw new BuskerError("line_full", `${maxPlaces} replies are awaited already`);
    places.push(place);
    return place;
  };
  return {
    pending: () => places.length - free.length,
    take: (prefix: string, listener: ReplyListener): Place => {
      const place = free.pop() ?? make();
      if (place.prefix !== prefix) {
        place.token += maxPlaces;
        place.prefix = prefix;
        place.subject = `${prefix}.${place.token.toString(radix)}`;
      }
      place.listener = listener;
      return place;
    },
    find: (token: number): Place | undefined => {
      const place = places[token % maxPlaces];
      return place?.token === token ? place : undefined;
    },
    free: (place: Place, isAnswered: boolean): void => {
      if (!place.listener) return;
      place.listener = undefined;
      if (!isAnswered) place.prefix = "";
      free.push(place);
    },
  };
};

/** Opens an inbox under the user's own reply prefix. What stands before a reply subject's token names this caller to replicas. */
export const openReplyInbox = (bus: Bus): ReplyInbox => {
  const instance = nuid.next();
  const places = createPlaces();
  const subscription = bus.nc.subscribe(callReplyOwnFilter(bus.user, instance), {
    callback: (error, message) => {
      if (error) return;
      const { subject } = message;
      const place = places.find(Number.parseInt(subject.slice(subject.lastIndexOf(".") + 1), radix));
      // The whole subject, not its token alone: a replica of another function may publish to a subject of its own
      // function with a token that it guessed.
      if (place?.subject === subject) place.listener?.(message);
    },
  });
  return {
    forFunction: ({ namespace, name }) => {
      const prefix = `${callReplyPrefix(bus.user, namespace, name)}.${instance}`;
      return {
        expect: (listener) => places.take(prefix, listener),
        forget: (token, isAnswered) => {
          const place = places.find(token);
          if (place) places.free(place, isAnswered);
        },
      };
    },
    pending: places.pending,
    close: () => subscription.unsubscribe(),
  };
};
