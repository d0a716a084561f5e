import { finalStates, isFinal } from "../../schemas/call.ts";
import { callStateFilter } from "../../schemas/subjects.ts";
import type { CallRecords, FoundRecord } from "./call-records.ts";
import { decodeAttribute } from "./cloud-events.ts";
import type { Bus } from "./connection.ts";
import { headerText, headerValue } from "./headers.ts";

/** Waits for calls to be over, without asking again and again. */
export interface EndWatch {
  /**
   * The record of a call when it is over, or as it is after `waitMs`, or when the signal aborts; undefined when there is
   * none. Rejects with `bus_unavailable` when records cannot be read at the beginning or at the end.
   */
  readonly wait: (id: string, waitMs: number, signal: AbortSignal) => Promise<FoundRecord | undefined>;
  /** Waits that are under way. */
  readonly count: () => number;
  readonly close: () => void;
}

const readAgainMs = 250;

/** Someone who waits: woken by each sign that the record may have changed. */
class Sleeper {
  #isWoken = false;
  #resolve: (() => void) | undefined;

  readonly wake = (): void => {
    this.#isWoken = true;
    this.#resolve?.();
  };

  /** Resolves when it was woken since the last time. */
  async sleep(): Promise<void> {
    if (!this.#isWoken) await new Promise<void>((resolve) => (this.#resolve = resolve));
    this.#isWoken = false;
  }
}

/** Opens one: a subscription to the ends of all calls, whose events come after their records are written. */
export const openEndWatch = (bus: Bus, records: Pick<CallRecords, "read">): EndWatch => {
  const sleepers = new Map<string, Set<Sleeper>>();
  let count = 0;
  const subscriptions = finalStates.map((state) =>
    bus.nc.subscribe(callStateFilter(state), {
      callback: (error, message) => {
        if (error || count === 0) return;
        const eventId = decodeAttribute(headerValue(headerText(message), "ce-id") ?? "");
        const id = eventId.endsWith(`.${state}`) ? eventId.slice(0, -state.length - 1) : eventId;
        for (const sleeper of sleepers.get(id) ?? []) sleeper.wake();
      },
    }),
  );
  // What was said while the server was away is not said again.
  const unlisten = bus.onChange((connected) => {
    if (!connected) return;
    for (const some of sleepers.values()) for (const sleeper of some) sleeper.wake();
  });
  const add = (id: string): Sleeper => {
    const sleeper = new Sleeper();
    const some = sleepers.get(id) ?? new Set();
    sleepers.set(id, some.add(sleeper));
    count += 1;
    return sleeper;
  };
  const remove = (id: string, sleeper: Sleeper): void => {
    const some = sleepers.get(id);
    some?.delete(sleeper);
    if (some?.size === 0) sleepers.delete(id);
    count -= 1;
  };
  const wait: EndWatch["wait"] = async (id, waitMs, signal) => {
    let isDue = waitMs <= 0;
    // Before the record is read, so that no end falls between.
    const sleeper = add(id);
    const timer = setTimeout(() => {
      isDue = true;
      sleeper.wake();
    }, waitMs);
    signal.addEventListener("abort", sleeper.wake);
    const readAgain = async (last: FoundRecord): Promise<FoundRecord | undefined> => {
      try {
        return await records.read(id);
      } catch (error) {
        if (isDue || signal.aborted) throw error;
        // A server that has just come back may need a moment for its streams.
        setTimeout(sleeper.wake, readAgainMs).unref();
        return last;
      }
    };
    try {
      let found = await records.read(id);
      while (found && !isFinal(found.record.state) && !isDue && !signal.aborted) {
        await sleeper.sleep();
        found = await readAgain(found);
      }
      return found;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", sleeper.wake);
      remove(id, sleeper);
    }
  };
  return {
    wait,
    count: () => count,
    close: () => {
      unlisten();
      for (const subscription of subscriptions) subscription.unsubscribe();
    },
  };
};
