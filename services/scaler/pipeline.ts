import {
  endWith,
  filter,
  groupBy,
  type GroupedObservable,
  ignoreElements,
  map,
  merge,
  mergeMap,
  type Observable,
  takeUntil,
  throttleTime,
} from "rxjs";
import type { FunctionRecord, FunctionStatusRecord } from "../../schemas/function.ts";
import type { LoadMinute } from "../../schemas/load.ts";
import { type Assessment, Follower } from "./follower.ts";
import type { SampleNews } from "./read-sample.ts";

/** What happened to one function. The first of each function is its record. */
export type News = { readonly key: string } & (
  | { readonly kind: "record"; readonly record: FunctionRecord }
  | { readonly kind: "status"; readonly status: FunctionStatusRecord }
  | { readonly kind: "sample"; readonly sample: SampleNews }
  | { readonly kind: "idle"; readonly idleMs: number }
  /** Minutes of the log of its load, in order. */
  | { readonly kind: "log"; readonly minutes: readonly LoadMinute[] }
  | { readonly kind: "removed" }
);

/** What was decided about one function. */
export interface Assessed {
  /** `name.namespace`. */
  readonly key: string;
  readonly record: FunctionRecord;
  readonly assessment: Assessment;
}

/** By what time a pipeline goes. */
export interface PipelineClock {
  /** Milliseconds of a clock that only goes forward. */
  readonly now: () => number;
  /** Milliseconds since the epoch. */
  readonly wall: () => number;
  /** When every function is to be decided on, whatever has happened: once a second. */
  readonly ticks: Observable<unknown>;
}

// Callers tell of calls that have to wait as often as this, and replicas come up one by one.
const urgentEveryMs = 100;

/** Takes news of one function; true when it is to be decided on at once. */
const take = (follower: Follower, news: News, nowMs: number): boolean => {
  switch (news.kind) {
    case "record":
      follower.takeRecord(news.record, nowMs);
      return false;
    case "status":
      return follower.takeStatus(news.status, nowMs);
    case "sample":
      return follower.takeSample(news.sample, nowMs);
    case "idle":
      follower.recallIdle(news.idleMs, nowMs);
      return false;
    case "log":
      follower.takeLog(news.minutes);
      return false;
    case "removed":
      return false;
  }
};

const followOne = (
  group: GroupedObservable<string, News>,
  { now, wall, ticks }: PipelineClock,
): Observable<Assessed> => {
  let follower: Follower | undefined;
  const isUrgent = (news: News): boolean => {
    if (news.kind === "record") follower ??= new Follower(news.record, now());
    return follower !== undefined && take(follower, news, now());
  };
  const urgent = group.pipe(
    filter(isUrgent),
    throttleTime(urgentEveryMs, undefined, { leading: true, trailing: true }),
  );
  const over = group.pipe(ignoreElements(), endWith(true));
  return merge(urgent, ticks).pipe(
    takeUntil(over),
    map(() => follower),
    filter((followed) => followed !== undefined),
    map((followed) => ({ key: group.key, record: followed.record, assessment: followed.assess(now(), wall()) })),
  );
};

/** Follows every function from its first record to its removal, and decides about each with every tick and when calls wait. */
export const assessFunctions = (news: Observable<News>, clock: PipelineClock): Observable<Assessed> =>
  news.pipe(
    groupBy(({ key }) => key, { duration: (group) => group.pipe(filter(({ kind }) => kind === "removed")) }),
    mergeMap((group) => followOne(group, clock)),
  );
