import { Subject, type Observable } from "rxjs";
import type { FunctionRecord, FunctionStatusRecord } from "../../schemas/function.ts";
import type { LoadMinute } from "../../schemas/load.ts";
import { formatFunctionName } from "../../schemas/names.ts";
import { readScaleRules } from "../../schemas/scale-labels.ts";
import { metricAnyFilter } from "../../schemas/subjects.ts";
import { buckets } from "../../schemas/topology.ts";
import type { Bus } from "../bus/connection.ts";
import { type Change, openBucket } from "../bus/kv.ts";
import { retryUntilReady } from "../bus/retry.ts";
import { type LoadListener, openLoadReader } from "./load-reader.ts";
import type { News } from "./pipeline.ts";
import { readSample } from "./read-sample.ts";
import { recallIdle } from "./recall-idle.ts";

/** What is heard of functions. */
export interface NewsSource {
  readonly news: Observable<News>;
  /** Begins to tell; resolves when it has told what is there. */
  readonly start: () => Promise<void>;
  readonly stop: () => void;
}

/** What is counted of samples. */
export interface SampleCounts {
  readonly taken: () => void;
  /** It was no sample, or of a function that there is not. */
  readonly passedOver: () => void;
}

/** What a source of news needs. */
export interface NewsParts extends Pick<LoadListener, "onMinute" | "log"> {
  readonly counts: SampleCounts;
}

/** Reads the bus: wishes, what the provider observes, samples of functions that there are, and the log of loads. */
export const createNewsSource = (bus: Bus, { counts, onMinute, log }: NewsParts): NewsSource => {
  const news = new Subject<News>();
  const known = new Map<string, FunctionRecord>();
  // The first status of a function may come before its record: the two buckets are read side by side.
  const statuses = new Map<string, FunctionStatusRecord>();
  const stops: (() => void)[] = [];
  const onLog = (key: string, minutes: readonly LoadMinute[]): void => news.next({ kind: "log", key, minutes });
  const loads = openLoadReader(bus, { onLog, onMinute, log });
  stops.push(loads.stop);

  const onRecord = (change: Change<FunctionRecord>): void => {
    if (change.kind === "gone") {
      known.delete(change.key);
      loads.forget(change.key);
      return news.next({ kind: "removed", key: change.key });
    }
    const { key, value } = change.entry;
    const status = known.has(key) ? undefined : statuses.get(key);
    known.set(key, value);
    news.next({ kind: "record", key, record: value });
    if (readScaleRules(value.spec).forecast) loads.follow(value.spec);
    else loads.forget(key);
    if (status) news.next({ kind: "status", key, status });
  };
  const onStatus = (change: Change<FunctionStatusRecord>): void => {
    if (change.kind === "gone") return void statuses.delete(change.key);
    const { key, value } = change.entry;
    statuses.set(key, value);
    if (known.has(key)) news.next({ kind: "status", key, status: value });
  };
  const watch = async <T>(
    bucket: { readonly watch: (onChange: (change: Change<T>) => void, onCaughtUp: () => void) => Promise<() => void> },
    onChange: (change: Change<T>) => void,
  ): Promise<void> => {
    let caughtUp: () => void = () => {};
    const complete = new Promise<void>((resolve) => {
      caughtUp = resolve;
    });
    // The provider makes the buckets; started at the same time, it may need a moment longer.
    stops.push(await retryUntilReady(() => bucket.watch(onChange, caughtUp)));
    await complete;
  };
  const follow = (): void => {
    const subscription = bus.nc.subscribe(metricAnyFilter, {
      callback: (error, message) => {
        const sample = error ? undefined : readSample(message);
        const key = sample && formatFunctionName(sample.function);
        if (!sample || key === undefined || !known.has(key)) return counts.passedOver();
        counts.taken();
        news.next({ kind: "sample", key, sample });
      },
    });
    stops.push(() => subscription.unsubscribe());
  };
  return {
    news,
    start: async () => {
      await watch(await openBucket<FunctionRecord>(bus, buckets.functions), onRecord);
      await watch(await openBucket<FunctionStatusRecord>(bus, buckets.status), onStatus);
      // Before samples are heard, which know better.
      await retryUntilReady(() => recallIdle(bus, known, (key, idleMs) => news.next({ kind: "idle", key, idleMs })));
      follow();
    },
    stop: () => {
      for (const stop of stops) stop();
    },
  };
};
