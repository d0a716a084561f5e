import type { CallChange } from "../../../schemas/events.ts";
import { callStateFilter, parseFunctionSubject } from "../../../schemas/subjects.ts";
import { streams } from "../../../schemas/topology.ts";
import type { Bus, BusMessage } from "../../bus/connection.ts";
import type { Invoker } from "../../bus/invoker.ts";
import { openPuller } from "../../bus/pull.ts";
import { openWorkQueue } from "../../bus/work-queue.ts";
import type { RunDelivery } from "../delivery.ts";
import { watchAges } from "./ages.ts";
import { discoverCalls } from "./discovery.ts";
import { createDueTimes } from "./due-times.ts";
import { openHand } from "./hand.ts";
import type { LaneQueue } from "./lane.ts";
import { type Backlog, LaneBook } from "./lane-book.ts";
import { Turnstile } from "./turnstile.ts";

/** Settings of the lanes. */
export interface LanesOptions {
  readonly invoker: Pick<Invoker, "capacity" | "onCapacity">;
  readonly run: RunDelivery;
  /** How long a worker that says nothing keeps a call; 5 s where absent. */
  readonly leaseMs?: number;
  /** Calls in hand at a time, one for each function apart; 1,000 where absent. */
  readonly maxCalls?: number;
  /** Bytes of bodies in hand at a time; 64 MiB where absent. */
  readonly maxBytes?: number;
  /** How long `stop` lets calls in hand go on; 10 s where absent. */
  readonly graceMs?: number;
}

/** How much of one function waits or runs. */
export interface Depth {
  /** Calls that are not over. */
  readonly messages: number;
  /** Those of them that are not put off. */
  readonly due: number;
  /** When the oldest of them was due, milliseconds since the epoch, where that is known. */
  readonly oldestMs?: number;
}

/** The calls that one queue-worker takes. */
export interface Lanes {
  /** Of each function that has calls that are not over, by `name.namespace`; a second or two old, `oldestMs` five. */
  readonly depths: () => ReadonlyMap<string, Depth>;
  /** Calls in hand here. */
  readonly inHand: () => number;
  /** Takes no more, and resolves when nothing is in hand any more; what has not ended within the grace is aborted and comes again elsewhere. */
  readonly stop: () => Promise<void>;
}

const defaults = { leaseMs: 5000, maxCalls: 1000, maxBytes: 64 * 1024 * 1024, graceMs: 10_000 };

/**
 * Takes queued calls of every function and hands each to `run`: as many of a function as it has free slots (and one that waits
 * for a slot), the most urgent first, all functions in turn. What `run` says is said to the stream; a call whose worker dies
 * comes again, here or elsewhere, when its lease is over.
 */
export const openLanes = async (bus: Bus, options: LanesOptions): Promise<Lanes> => {
  const { invoker, run, leaseMs, maxCalls, maxBytes, graceMs } = { ...defaults, ...options };
  const queue = await openWorkQueue(bus, streams.INVOCATIONS);
  const turnstile = new Turnstile({ maxCalls, maxBytes });
  const book = new LaneBook({
    leaseMs,
    capacity: invoker.capacity,
    ensureConsumer: queue.ensureConsumer,
    removeForgetful: queue.removeForgetful,
    pull: (request) => puller.pull(request),
    isConnected: bus.isConnected,
    enter: (lane) => turnstile.enter(lane),
  });
  const dueTimes = createDueTimes<LaneQueue>(({ lane, priority }) => book.expect(lane.function, priority));
  const hand = openHand(bus, { run, leaseMs, turnstile, onRetry: dueTimes.add });
  const puller = openPuller(bus, streams.INVOCATIONS.name, (message, handout) => {
    const from = book.queueAt(message.subject);
    if (from) hand.take(from, message, handout);
  });
  const events = bus.nc.subscribe(callStateFilter("queued"), {
    callback: (error, message) => {
      if (!error) onQueued(book, message);
    },
  });
  invoker.onCapacity((name) => book.onCapacity(name));
  const unlisten = bus.onChange((connected) => connected || book.forgetConsumers());
  const endDiscovery = discoverCalls(bus, queue, (counts) => book.note(counts));
  const ages = watchAges(bus, queue, () => book.longest());
  return {
    depths: () =>
      new Map([...book.backlogs].map(([key, backlog]) => [key, withAge(backlog, ages.oldestMs(key))] as const)),
    inHand: hand.size,
    stop: async () => {
      turnstile.close();
      events.unsubscribe();
      unlisten();
      dueTimes.close();
      ages.close();
      await endDiscovery();
      await hand.empty(graceMs);
      puller.close();
      // The last verdicts are said when this resolves.
      if (bus.isConnected()) await bus.nc.flush();
    },
  };
};

const withAge = (backlog: Backlog, oldestMs: number | undefined): Depth =>
  oldestMs === undefined ? backlog : { ...backlog, oldestMs };

const onQueued = (book: LaneBook, message: BusMessage): void => {
  const name = parseFunctionSubject(message.subject, 2);
  if (name) book.expect(name, message.json<CallChange>().priority ?? "normal");
};
