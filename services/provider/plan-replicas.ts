import type { FunctionRecord, ReplicaRecord } from "../../schemas/function.ts";
import type { BackOff } from "./back-off.ts";

/** A replica as the plan sees it. */
export interface PlannedReplica extends Pick<ReplicaRecord, "id" | "revision" | "state"> {
  /** It was told to stop. */
  readonly stopping: boolean;
  /** Milliseconds since the epoch. */
  readonly startedMs: number;
}

/** What is to be done for one function now. */
export interface ReplicaPlan {
  readonly start: number;
  /** Ids. */
  readonly drain: readonly string[];
  /** When to plan again though nothing happens, milliseconds since the epoch. */
  readonly againAtMs?: number;
}

/** The world of one plan. */
export interface PlanInput {
  readonly record: FunctionRecord | undefined;
  readonly replicas: readonly PlannedReplica[];
  readonly backOff: BackOff | undefined;
  readonly nowMs: number;
}

// Starting a hundred processes at a time makes all of them slow: the first ready one is wanted soon.
const maxStarting = 8;

const isStarting = (replica: PlannedReplica): boolean => replica.state === "starting";
const isReady = (replica: PlannedReplica): boolean => replica.state === "ready";

// Those that cannot serve yet go first, then the newest: the older has more calls and warmer caches.
const leastUseful = (a: PlannedReplica, b: PlannedReplica): number =>
  Number(isReady(a)) - Number(isReady(b)) || b.startedMs - a.startedMs;

const surplus = (replicas: readonly PlannedReplica[], wanted: number): readonly string[] =>
  replicas
    .toSorted(leastUseful)
    .slice(0, Math.max(0, replicas.length - wanted))
    .map(({ id }) => id);

// After failures one replica is tried at a time, when its time has come.
const countStarts = (missing: number, starting: number, backOff: BackOff | undefined, nowMs: number): number => {
  if (missing <= 0) return 0;
  if (backOff === undefined || backOff.failures === 0) return Math.max(0, Math.min(missing, maxStarting - starting));
  return starting === 0 && nowMs >= backOff.nextTryAtMs ? 1 : 0;
};

/**
 * What brings the replicas of one function to what is wished: missing ones are started, surplus ones drained, and those
 * of an older revision drained one for one as new ones become ready. `backOff` counts for the record's revision only.
 */
export const planReplicas = ({ record, replicas, backOff, nowMs }: PlanInput): ReplicaPlan => {
  const serving = replicas.filter((replica) => !replica.stopping && replica.state !== "exited");
  if (!record || record.replicas === 0) return { start: 0, drain: serving.map(({ id }) => id) };
  const current = serving.filter(({ revision }) => revision === record.revision);
  const old = serving.filter(({ revision }) => revision !== record.revision);
  const wanted = record.replicas;
  const own = backOff?.revision === record.revision ? backOff : undefined;
  const missing = wanted - current.length;
  const start = countStarts(missing, current.filter(isStarting).length, own, nowMs);
  const waits = missing > 0 && start === 0 && own !== undefined && own.nextTryAtMs > nowMs;
  return {
    start,
    drain: [...surplus(current, wanted), ...surplus(old, wanted - Math.min(wanted, current.filter(isReady).length))],
    ...(waits ? { againAtMs: own.nextTryAtMs } : {}),
  };
};
