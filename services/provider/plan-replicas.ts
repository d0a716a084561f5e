import { freezesAtZero, stopAfterMs } from "../../schemas/annotations.ts";
import { isFailing, type FunctionRecord, type ReplicaRecord } from "../../schemas/function.ts";
import { leastAwake } from "../../schemas/scale-labels.ts";
import type { BackOff } from "./back-off.ts";

/** A replica as the plan sees it. */
export interface PlannedReplica extends Pick<ReplicaRecord, "id" | "revision" | "state"> {
  /** It was told to stop. */
  readonly stopping: boolean;
  /** It was told to freeze, and not to wake up. */
  readonly asleep: boolean;
  /** Milliseconds since the epoch. */
  readonly startedMs: number;
  /** When it came into its state, milliseconds since the epoch. */
  readonly sinceMs: number;
  /** It is not to sleep any longer: what it holds is wanted elsewhere. */
  readonly evicted: boolean;
}

/** What is to be done for one function now. */
export interface ReplicaPlan {
  readonly start: number;
  /** Ids; one that is asleep has nothing to finish. */
  readonly drain: readonly string[];
  readonly freeze: readonly string[];
  readonly wake: readonly string[];
  /** When to plan again though nothing happens, milliseconds since the epoch. */
  readonly againAtMs?: number;
}

/** The world of one plan. */
export interface PlanInput {
  readonly record: FunctionRecord | undefined;
  readonly replicas: readonly PlannedReplica[];
  readonly backOff: BackOff | undefined;
  /** Whether replicas can be frozen where they run. */
  readonly canFreeze: boolean;
  readonly nowMs: number;
}

// Starting a hundred processes at a time makes all of them slow: the first ready one is wanted soon.
const maxStarting = 8;

const isStarting = (replica: PlannedReplica): boolean => replica.state === "starting";
const isReady = (replica: PlannedReplica): boolean => replica.state === "ready";

const usefulness = (replica: PlannedReplica): number => (isReady(replica) ? 2 : Number(replica.asleep));

// Those that cannot serve yet go first, then those asleep, then the newest: the older has more calls and warmer caches.
const leastUseful = (a: PlannedReplica, b: PlannedReplica): number =>
  usefulness(a) - usefulness(b) || b.startedMs - a.startedMs;

const idsOf = (replicas: readonly PlannedReplica[]): readonly string[] => replicas.map(({ id }) => id);

const surplus = (replicas: readonly PlannedReplica[], wanted: number): readonly PlannedReplica[] =>
  replicas.toSorted(leastUseful).slice(0, Math.max(0, replicas.length - wanted));

const sleepFirst = (a: PlannedReplica, b: PlannedReplica): number =>
  Number(b.asleep) - Number(a.asleep) || leastUseful(b, a);

const hasSleptEnough = ({ state, asleep, sinceMs, evicted }: PlannedReplica, untilMs: number): boolean =>
  asleep && state === "frozen" && (evicted || sinceMs <= untilMs);

// One that is still starting, or goes over to new credentials, is frozen when it is ready. One that has slept for as
// long as its function lets it is ended with the next look: nobody misses it.
const planZero = (
  serving: readonly PlannedReplica[],
  record: FunctionRecord | undefined,
  frozen: number,
  nowMs: number,
): ReplicaPlan => {
  const kept = serving
    .filter(
      (replica) => replica.revision === record?.revision && !hasSleptEnough(replica, nowMs - stopAfterMs(record.spec)),
    )
    .toSorted(sleepFirst)
    .slice(0, frozen);
  return {
    start: 0,
    drain: idsOf(serving.filter((replica) => !kept.includes(replica))),
    freeze: idsOf(kept.filter((replica) => isReady(replica) && !replica.asleep)),
    wake: [],
  };
};

// After failures one replica is tried at a time, when its time has come; where many work beside them, as many as ever.
const countStarts = (
  missing: number,
  current: readonly PlannedReplica[],
  backOff: BackOff | undefined,
  nowMs: number,
): number => {
  const starting = current.filter(isStarting).length;
  if (missing <= 0 || (backOff && nowMs < backOff.nextTryAtMs)) return 0;
  if (backOff && isFailing(backOff.failures, current.filter(isReady).length)) return starting === 0 ? 1 : 0;
  return Math.max(0, Math.min(missing, maxStarting - starting));
};

/**
 * What brings the replicas of one function to what is wished: missing ones are started, surplus ones drained, and those
 * of an older revision drained one for one as new ones become ready. At zero the last ones are frozen where the function
 * wants that, as many as the next call wakes. `backOff` counts for the record's revision only.
 */
export const planReplicas = ({ record, replicas, backOff, canFreeze, nowMs }: PlanInput): ReplicaPlan => {
  const serving = replicas.filter((replica) => !replica.stopping && replica.state !== "exited");
  if (!record || record.replicas === 0) {
    const frozen = record && canFreeze && freezesAtZero(record.spec) ? leastAwake(record.spec) : 0;
    return planZero(serving, record, frozen, nowMs);
  }
  const current = serving.filter(({ revision }) => revision === record.revision);
  const old = serving.filter(({ revision }) => revision !== record.revision);
  const wanted = record.replicas;
  const tooMany = surplus(current, wanted);
  const oldWanted = wanted - Math.min(wanted, current.filter(isReady).length);
  const oldAwake = old.filter(({ asleep }) => !asleep);
  const own = backOff?.revision === record.revision ? backOff : undefined;
  const missing = wanted - current.length;
  const start = countStarts(missing, current, own, nowMs);
  const waits = missing > 0 && start === 0 && own !== undefined && own.nextTryAtMs > nowMs;
  return {
    start,
    drain: idsOf([...tooMany, ...old.filter(({ asleep }) => asleep), ...surplus(oldAwake, oldWanted)]),
    freeze: [],
    wake: idsOf(current.filter((replica) => replica.asleep && !tooMany.includes(replica))),
    ...(waits ? { againAtMs: own.nextTryAtMs } : {}),
  };
};
