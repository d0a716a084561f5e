import { describeError, type Log } from "../runtime/log.ts";

/** Frees what is not used any more, some time after a change. */
export interface BundleCollector {
  /** Something has changed; passed over until `start`. */
  readonly note: () => void;
  /** All that is in use is known from now on: frees what earlier providers left. */
  readonly start: () => void;
  readonly stop: () => void;
}

// Changes come in flocks, and nobody waits for this.
const afterMs = 1000;

/** Makes a collector; `collect` runs at most once a second. */
export const createBundleCollector = (collect: () => Promise<void>, log: Log): BundleCollector => {
  let isStarted = false;
  let timer: NodeJS.Timeout | undefined;
  const run = (): void => {
    timer = undefined;
    collect().catch((error: unknown) => log.warn("could not free bundles", { error: describeError(error) }));
  };
  const note = (): void => {
    if (isStarted) timer ??= setTimeout(run, afterMs);
  };
  return {
    note,
    start: () => {
      isStarted = true;
      note();
    },
    stop: () => {
      isStarted = false;
      clearTimeout(timer);
    },
  };
};
