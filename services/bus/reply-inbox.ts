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
  readonly forget: (token: number) => void;
}

const radix = 36;

// A token is a place and how often it was used: this many places at most, and no token is ever given twice.
const maxPlaces = 2 ** 20;

/** Where one reply is expected; used again when it is forgotten, for the reason given at `Bag`. */
interface Place {
  token: number;
  subject: string;
  listener: ReplyListener | undefined;
}

/** The places of an inbox. */
const createPlaces = () => {
  const places: Place[] = [];
  const free: Place[] = [];
  const make = (): Place => {
    const place: Place = { token: places.length, subject: "", listener: undefined };
    if (places.length >= maxPlaces) throw new BuskerError("line_full", `${maxPlaces} replies are awaited already`);
    places.push(place);
    return place;
  };
  return {
    pending: () => places.length - free.length,
    take: (): Place => {
      const place = free.pop() ?? make();
      place.token += maxPlaces;
      return place;
    },
    find: (token: number): Place | undefined => {
      const place = places[token % maxPlaces];
      return place?.token === token ? place : undefined;
    },
    free: (place: Place): void => {
      if (!place.listener) return;
      place.listener = undefined;
      place.subject = "";
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
        expect: (listener) => {
          const place = places.take();
          place.subject = `${prefix}.${place.token.toString(radix)}`;
          place.listener = listener;
          return place;
        },
        forget: (token) => {
          const place = places.find(token);
          if (place) places.free(place);
        },
      };
    },
    pending: places.pending,
    close: () => subscription.unsubscribe(),
  };
};
