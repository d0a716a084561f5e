import type { Bus } from "../../bus/connection.ts";
import { readSamples } from "../../bus/read-samples.ts";
import type { Directory } from "../directory.ts";
import { keepSnapshots, readSnapshot } from "./snapshots.ts";
import { openBooks, type Totals } from "./totals.ts";

/** Totals as they grow. */
export interface OpenTotals extends Totals {
  /** Resolves when everything is counted that had been told when they were opened; before, they are too low. */
  readonly complete: Promise<void>;
  readonly stop: () => Promise<void>;
}

const settleEveryMs = 10_000;

/**
 * Counts what replicas and callers tell, from the newest snapshot on: every gateway counts the same, and so it stays over
 * restarts of gateways and of the server. Rejects while bucket or stream do not exist yet.
 */
export const openTotals = async (bus: Bus, directory: Directory): Promise<OpenTotals> => {
  const stored = await readSnapshot(bus);
  const books = openBooks(directory, stored);
  let caughtUp = (): void => {};
  const complete = new Promise<void>((resolve) => {
    caughtUp = resolve;
  });
  const stopReading = await readSamples(bus, stored.position, {
    onSample: books.take,
    onFault: books.refuse,
    onCaughtUp: caughtUp,
  });
  const lease = await keepSnapshots(bus, books);
  const timer = setInterval(books.settle, settleEveryMs).unref();
  return {
    of: books.of,
    live: books.live,
    dropped: books.dropped,
    complete,
    stop: async () => {
      clearInterval(timer);
      stopReading();
      await lease.stop();
    },
  };
};
