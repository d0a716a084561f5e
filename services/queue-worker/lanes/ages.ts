import { queueFilter } from "../../../schemas/subjects.ts";
import type { Bus } from "../../bus/connection.ts";
import { readDueMs } from "../../bus/durable-call.ts";
import { createFaultReporter } from "../../bus/report-fault.ts";
import type { WorkQueue } from "../../bus/work-queue.ts";
import type { Lane } from "./lane.ts";

/** How old the oldest call of each function is that is not over. */
export interface Ages {
  /** When the oldest was due, milliseconds since the epoch, as last seen; undefined when it is not due yet or not known. */
  readonly oldestMs: (key: string) => number | undefined;
  readonly close: () => void;
}

const everyMs = 5000;
// A message each is read: of the functions with the longest queues, so many.
const mostFunctions = 100;

/** Looks at them every few seconds; `backlog` gives the functions that have one, the longest first. */
export const watchAges = (bus: Bus, queue: WorkQueue, backlog: () => readonly Lane[]): Ages => {
  let known: ReadonlyMap<string, number> = new Map();
  let isLooking = false;
  let isClosed = false;
  const report = createFaultReporter();
  const look = async (): Promise<void> => {
    const found = new Map<string, number>();
    for (const { key, function: name } of backlog().slice(0, mostFunctions)) {
      if (isClosed) return;
      const oldest = await queue.findOldest(queueFilter(name.namespace, name.name));
      const dueMs = oldest && (readDueMs(oldest.headers) ?? oldest.storedMs);
      if (dueMs !== undefined && dueMs <= Date.now()) found.set(key, dueMs);
    }
    known = found;
  };
  const timer = setInterval(() => {
    if (isLooking || !bus.isConnected()) return;
    isLooking = true;
    void look()
      .catch((cause: unknown) => {
        if (bus.isConnected() && !isClosed) report("could not read how old queued calls are", cause);
      })
      .finally(() => (isLooking = false));
  }, everyMs).unref();
  return {
    oldestMs: (key) => known.get(key),
    close: () => {
      isClosed = true;
      clearInterval(timer);
    },
  };
};
