import { BuskerError } from "../../schemas/errors.ts";
import { type EventPosition, keptGraceMs, streamPingMs } from "../../schemas/invocation.ts";
import { type FunctionName, formatFunctionName } from "../../schemas/names.ts";
import { keptHeadSubject, keptPartsSubject, replicaControlSubject } from "../../schemas/subjects.ts";
import { streams } from "../../schemas/topology.ts";
import type { Bus } from "./connection.ts";
import { headerStatus, headerText } from "./headers.ts";
import { decodeKeptHead, decodeKeptPart, type KeptHead, type KeptPart } from "./kept-answer.ts";
import { type KeptListener, openKeptView } from "./kept-view.ts";
import { openReplyInbox } from "./reply-inbox.ts";
import { retryUntilReady } from "./retry.ts";
import { createMessageFinder, type MessageFinder, type Stored } from "./stored-message.ts";
import type { StreamView } from "./stream-view.ts";

/** A kept answer and a place in it from which it can be read on. */
export interface KeptPlace extends KeptHead {
  readonly function: FunctionName;
  readonly stream: string;
  /** The number of the next part. */
  readonly next: number;
  readonly startSeq: number;
}

/** What a reader finds behind the event that it has. */
export type KeptFound =
  | { readonly kind: "open"; readonly place: KeptPlace }
  /** The answer is complete, and the reader has all of it. */
  | { readonly kind: "complete"; readonly head: KeptHead };

/** Reads kept answers. */
export interface KeptReader {
  /**
   * Finds an event's successor. Rejects with `stream_gone` when there is no such answer of this function or what is asked
   * for is not kept any more; when the reader has all there is, with the answer's own error when it broke off, and with
   * `replica_lost` when it has no end and its replica is gone.
   */
  readonly find: (name: FunctionName, position: EventPosition) => Promise<KeptFound>;
  /** Finds the beginning of an answer whose replica has just named it. */
  readonly findNew: (name: FunctionName, stream: string) => Promise<KeptPlace>;
  /** Reads on from there. */
  readonly read: (place: KeptPlace, listener: KeptListener) => Pick<StreamView, "resume" | "stop">;
  /** Readers of one function's answers. */
  readonly count: (name: FunctionName) => number;
  readonly close: () => void;
}

// Where several servers keep a stream, it may have the head a moment later than its caller has the id.
const newWithinMs = 2000;

// A consumer that begins so many messages too early finds its first one as quickly.
const nearEnough = 2048;

/** How long a replica is waited for to say that it is there. */
const answerWithinMs = 1000;

const gone = (what: string): BuskerError => new BuskerError("stream_gone", what);

const findHead = ({ get }: MessageFinder, name: FunctionName, stream: string): Promise<Stored<KeptHead> | undefined> =>
  get({ last_by_subj: keptHeadSubject(name.namespace, name.name, stream) }, decodeKeptHead);

/** The place of part `number` in the stream, or somewhat before it: numbers grow with places, others' parts in between. */
const approach = async (
  getFrom: (seq: number) => Promise<Stored<KeptPart> | undefined>,
  first: Stored<KeptPart>,
  last: Stored<KeptPart>,
  number: number,
): Promise<number> => {
  let low = first.seq + number - first.value.number;
  let high = last.seq - last.value.number + number;
  while (high - low > nearEnough) {
    const middle = Math.floor((low + high) / 2);
    const part = await getFrom(middle);
    if (!part || part.value.number > number) high = middle;
    else low = part.seq + number - part.value.number;
  }
  return low;
};

/** What `find` finds; `isAtEnd` says that nothing has come yet behind the event that the reader has. */
type Found =
  | Extract<KeptFound, { kind: "complete" }>
  | (Extract<KeptFound, { kind: "open" }> & { readonly isAtEnd: boolean });

const findAfter = async (finder: MessageFinder, name: FunctionName, position: EventPosition): Promise<Found> => {
  const { stream, number } = position;
  const label = `stream ${stream} of function ${formatFunctionName(name)}`;
  const subject = keptPartsSubject(name.namespace, name.name, stream);
  const head = await findHead(finder, name, stream);
  if (!head) throw gone(`${label} is not kept, or not any more`);
  const getFrom = (seq: number) => finder.get({ seq, next_by_subj: subject }, decodeKeptPart);
  const last = await finder.get({ last_by_subj: subject }, decodeKeptPart);
  const next = number + 1;
  const place = { ...head.value, function: name, stream, next };
  const opened = (startSeq: number, isAtEnd: boolean): Found => ({
    kind: "open",
    place: { ...place, startSeq },
    isAtEnd,
  });
  if (!last) {
    if (number > 0) throw gone(`${label} has no event ${number}`);
    return opened(head.seq + 1, true);
  }
  const end = last.value.number;
  if (number > end || (number === end && last.value.kind !== "event")) throw gone(`${label} has no event ${number}`);
  if (next === end && last.value.kind === "end") return { kind: "complete", head: head.value };
  if (next === end && last.value.kind === "abort") throw last.value.error;
  if (next > end) return opened(last.seq + 1, true);
  // From the stream's beginning: a long answer's head has been written anew since.
  const first = await getFrom(1);
  if (!first || first.value.number > next)
    throw gone(
      `${label} no longer has event ${next}` +
        (first?.value.kind === "event" ? `: its oldest is ${first.value.number}` : ", nor any behind it"),
    );
  return opened(await approach(getFrom, first, last, next), false);
};

const lostReplica = (replica: string): BuskerError =>
  new BuskerError("replica_lost", `replica ${replica} went away in the middle of its answer`);

/** Asks the replicas of answers that are being read whether they are still there: who dies leaves no end behind. */
const createReplicaWatch = (bus: Bus) => {
  const inbox = openReplyInbox(bus);
  const watched = new Map<string, { readonly views: Set<StreamView>; readonly forget: () => void; ask: () => void }>();
  let timer: NodeJS.Timeout | undefined;
  const askReplica = (replica: string, reply: string): void =>
    bus.nc.publish(replicaControlSubject(replica), JSON.stringify({ kind: "ping" }), { reply });
  const open = (name: FunctionName, replica: string) => {
    const views = new Set<StreamView>();
    const replies = inbox.forFunction(name);
    const lost = lostReplica(replica);
    let token: number | undefined;
    const forget = (isAnswered = false): void => {
      if (token !== undefined) replies.forget(token, isAnswered);
      token = undefined;
    };
    const ask = (): void => {
      forget();
      const expected = replies.expect((message) => {
        forget(true);
        if (headerStatus(headerText(message)) === 503) for (const view of views) view.lose(lost);
      });
      token = expected.token;
      askReplica(replica, expected.subject);
    };
    return { views, forget, ask };
  };
  const askAll = (): void => {
    if (bus.isConnected()) for (const { ask } of watched.values()) ask();
  };
  return {
    /** Whether nobody is there under the replica's name; one that says nothing may only be busy. */
    isGone: ({ function: name, replica }: KeptPlace): Promise<boolean> => {
      const replies = inbox.forFunction(name);
      return new Promise((resolve) => {
        const { token, subject } = replies.expect((message) => {
          clearTimeout(timeout);
          replies.forget(token, true);
          resolve(headerStatus(headerText(message)) === 503);
        });
        const timeout = setTimeout(() => {
          replies.forget(token, false);
          resolve(false);
        }, answerWithinMs);
        askReplica(replica, subject);
      });
    },
    add: (name: FunctionName, replica: string, view: StreamView): (() => void) => {
      const key = `${formatFunctionName(name)}/${replica}`;
      const of = watched.get(key) ?? open(name, replica);
      watched.set(key, of);
      of.views.add(view);
      timer ??= setInterval(askAll, streamPingMs).unref();
      return () => {
        of.views.delete(view);
        if (of.views.size > 0) return;
        of.forget();
        watched.delete(key);
        if (watched.size > 0) return;
        clearInterval(timer);
        timer = undefined;
      };
    },
    close: () => {
      clearInterval(timer);
      inbox.close();
    },
  };
};

/** Opens a reader on a connection; its views end with it. */
export const openKeptReader = (bus: Bus): KeptReader => {
  const finder = createMessageFinder(bus, streams.STREAMS);
  const watch = createReplicaWatch(bus);
  const views = new Set<StreamView>();
  const counts = new Map<string, number>();
  const countOne = (key: string, by: 1 | -1): void => {
    const count = (counts.get(key) ?? 0) + by;
    if (count > 0) counts.set(key, count);
    else counts.delete(key);
  };
  return {
    find: async (name, position) => {
      const found = await findAfter(finder, name, position);
      if (found.kind !== "open" || !found.isAtEnd || !(await watch.isGone(found.place))) return found;
      // It may have ended between the two.
      const again = await findAfter(finder, name, position);
      if (again.kind === "open" && again.isAtEnd) throw lostReplica(again.place.replica);
      return again;
    },
    findNew: (name, stream) =>
      retryUntilReady(async () => {
        const head = await findHead(finder, name, stream);
        if (!head) throw gone(`stream ${stream} of function ${formatFunctionName(name)} is not kept`);
        return { ...head.value, function: name, stream, next: 1, startSeq: head.seq + 1 };
      }, newWithinMs),
    read: (place, listener) => {
      const { namespace, name } = place.function;
      const key = formatFunctionName(place.function);
      let unwatch: () => void = () => {};
      const view: StreamView = openKeptView({
        bus,
        manager: finder.manager,
        stream: streams.STREAMS.name,
        subject: keptPartsSubject(namespace, name, place.stream),
        startSeq: place.startSeq,
        next: place.next,
        endMs: place.deadlineMs + keptGraceMs,
        listener,
        onOver: () => {
          unwatch();
          views.delete(view);
          countOne(key, -1);
        },
      });
      views.add(view);
      countOne(key, 1);
      unwatch = watch.add(place.function, place.replica, view);
      return view;
    },
    count: (name) => counts.get(formatFunctionName(name)) ?? 0,
    close: () => {
      for (const view of views) view.stop();
      watch.close();
    },
  };
};
