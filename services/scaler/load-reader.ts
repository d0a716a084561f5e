import type { LoadMinute } from "../../schemas/load.ts";
import { formatFunctionName, type FunctionName } from "../../schemas/names.ts";
import type { Bus } from "../bus/connection.ts";
import { followLoads, readLoads } from "../bus/read-loads.ts";
import { retryUntilReady } from "../bus/retry.ts";
import { describeError, type Log } from "../runtime/log.ts";

/** Reads the log of loads of those functions that are to be foreseen. */
export interface LoadReader {
  /** Reads what the log has of a function, and goes on with it. */
  readonly follow: (name: FunctionName) => void;
  readonly forget: (key: string) => void;
  readonly stop: () => void;
}

/** Whom the reader tells. */
export interface LoadListener {
  /** Minutes of one function that is followed, in order: all that there are, then each as it comes. */
  readonly onLog: (key: string, minutes: readonly LoadMinute[]) => void;
  /** Each minute of any function as it comes. */
  readonly onMinute: (name: FunctionName, minute: number) => void;
  readonly log: Pick<Log, "warn">;
}

/** Opens a reader; what comes while a function's past is being read is told after it. */
export const openLoadReader = (bus: Bus, { onLog, onMinute, log }: LoadListener): LoadReader => {
  // Minutes that came while the past was read; undefined once it was told.
  const followed = new Map<string, { held: LoadMinute[] | undefined }>();
  const unfollow = followLoads(bus, (name, load) => {
    onMinute(name, load.minute);
    const key = formatFunctionName(name);
    const one = followed.get(key);
    if (one?.held) one.held.push(load);
    else if (one) onLog(key, [load]);
  });
  const begin = async (name: FunctionName, key: string, one: { held: LoadMinute[] | undefined }): Promise<void> => {
    const past = await retryUntilReady(() => readLoads(bus, name));
    if (followed.get(key) !== one) return;
    onLog(key, [...past, ...(one.held ?? [])]);
    one.held = undefined;
  };
  return {
    follow: (name) => {
      const key = formatFunctionName(name);
      if (followed.has(key)) return;
      const one = { held: [] };
      followed.set(key, one);
      begin(name, key, one).catch((error: unknown) => {
        // Tried again when the function's record changes next.
        if (followed.get(key) === one) followed.delete(key);
        log.warn("could not read the log of its load", { function: key, error: describeError(error) });
      });
    },
    forget: (key) => void followed.delete(key),
    stop: () => {
      followed.clear();
      unfollow();
    },
  };
};
