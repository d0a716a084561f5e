import { setTimeout as pause } from "node:timers/promises";
import type { Bus } from "../../bus/connection.ts";
import { keepRunning } from "../../bus/keep-running.ts";
import type { WorkQueue } from "../../bus/work-queue.ts";

/** What discovery tells. */
export type OnCounts = (bySubject: ReadonlyMap<string, number>) => void;

// Between two looks, give or take a quarter: several workers do not look at the same moment.
const everyMs = 1000;
const jitter = 0.5;

/**
 * Looks again and again at what the stream holds: it is how calls are found that nobody has told of, those that other workers have
 * left, and all of them when the server is back. Gives a function that ends it.
 */
export const discoverCalls = (bus: Bus, queue: WorkQueue, onCounts: OnCounts): (() => Promise<void>) => {
  const stopping = new AbortController();
  // Ends the wait between two looks.
  let hurry = new AbortController();
  const unlisten = bus.onChange((connected) => {
    if (connected) hurry.abort();
  });
  const look = async (): Promise<void> => {
    hurry = new AbortController();
    onCounts(await queue.countBySubject());
    const signal = AbortSignal.any([stopping.signal, hurry.signal]);
    await pause(everyMs * (1 + jitter * (Math.random() - 0.5)), undefined, { signal }).catch(() => undefined);
  };
  const loop = keepRunning(bus, "looking for queued calls", stopping.signal, look);
  return async () => {
    unlisten();
    stopping.abort();
    await loop;
  };
};
