import { setTimeout as pause } from "node:timers/promises";
import { BuskerError } from "../../schemas/errors.ts";

// What is done is not done again for want of a server that is back in a moment; and not held for ever.
const patienceMs = 60_000;
const lookMs = 100;
const longestLookMs = 1000;

const mayPass = (cause: unknown): boolean =>
  cause instanceof BuskerError && (cause.code === "bus_unavailable" || cause.code === "queue_full");

/**
 * Does what takes a stream until it is taken: while the server is away or a stream has no room it is tried again, for a
 * minute or until the signal. Rejects with the last error then.
 */
export const untilTaken = async <T>(signal: AbortSignal, act: () => Promise<T>): Promise<T> => {
  const endMs = Date.now() + patienceMs;
  for (let waitMs = lookMs; ; waitMs = Math.min(waitMs * 2, longestLookMs)) {
    try {
      return await act();
    } catch (cause) {
      if (!mayPass(cause) || signal.aborted || Date.now() >= endMs) throw cause;
    }
    await pause(waitMs, undefined, { signal }).catch(() => undefined);
  }
};
