import type { LoadType, ScaleRules } from "../../schemas/scale-labels.ts";
import type { BoundRules } from "./bound-rules.ts";

/** The load of one function, all replicas and callers together. */
export interface Load {
  /** Calls begun a second. */
  readonly rps: number;
  /** Most calls at a time in the last seconds, in replicas and in line. */
  readonly peakCalls: number;
  /** Thousandths of a core. */
  readonly cpuMillicores: number;
  /** Durable calls that are due. */
  readonly queued: number;
  /** Calls in replicas now. */
  readonly inFlight: number;
  /** Whether callers tell of their calls; a program that knows the bus alone tells nothing of those that wait in it. */
  readonly areCallersKnown: boolean;
  /** Calls in line at callers now. */
  readonly parked: number;
  /** How long the first of them has waited. */
  readonly oldestWaitMs: number;
  /** How long a call takes, in the mean; undefined where none has ended lately. */
  readonly callMs: number | undefined;
}

/** What a recommendation rests on. */
export interface RecommendInput {
  readonly rules: BoundRules;
  /** Calls one replica takes at a time; 0: no limit. */
  readonly slots: number;
  readonly ready: number;
  readonly load: Load;
}

/** What decided a recommendation: a type of load, the slots that are wanted now, or a bound. */
export type Reason = LoadType | "slots" | "min" | "max" | "cores";

/** How many replicas the load of now asks for, whatever runs. */
export interface Recommendation {
  readonly replicas: number;
  readonly reason: Reason;
  /** What each type of load, and the calls of now, ask for by themselves. */
  readonly needs: Readonly<Partial<Record<LoadType | "slots", number>>>;
}

/** Calls in line that those ahead of them let in within this time need no further replica. */
export const drainMs = 500;

const loadOf = (type: LoadType, load: Load): number =>
  ({ rps: load.rps, capacity: load.peakCalls, cpu: load.cpuMillicores, queue: load.queued })[type];

// A replica cannot be given more calls at a time than it takes, whatever its target says.
const perReplica = (type: LoadType, { target, proportion }: ScaleRules, slots: number): number =>
  type === "capacity" && slots > 0 ? Math.min(target * proportion, slots) : target * proportion;

// 4.5 / 0.9 is a hair above 5 in binary, which must not be a sixth replica.
const ceil = (value: number): number => Math.max(0, Math.ceil(value - 1e-9));

/** How many calls in line need a slot of their own, because they would not get one soon. */
const urgentCalls = ({ parked, oldestWaitMs, callMs }: Load): number =>
  callMs === undefined || oldestWaitMs > drainMs ? parked : parked * Math.min(1, callMs / drainMs);

/** What has begun is never left without the replicas that it needs, and what waits is not left waiting. */
const slotNeed = ({ rules, slots, ready, load }: RecommendInput): number => {
  if (slots === 0) return load.inFlight + load.parked > 0 ? 1 : 0;
  // How many calls wait for slots that are full is not known then: there is to be room, and the next look tells if it fills.
  const room = load.areCallersKnown ? 1 : rules.proportion;
  // A caller that has to wait has found no free slot, which samples of a second ago do not show yet.
  const busy = load.parked > 0 ? Math.max(load.inFlight, ready * slots) : load.inFlight;
  return ceil((busy + urgentCalls(load)) / (slots * room));
};

const largest = (needs: Recommendation["needs"]): readonly [Reason, number] =>
  Object.entries(needs).reduce<readonly [Reason, number]>(
    (most, [reason, need]) => (need > most[1] ? [reason as Reason, need] : most),
    ["min", 0],
  );

/** What is asked for when the rate asks for no more than the cores can feed. */
const boundByCores = (needs: Recommendation["needs"], { mostByRate }: BoundRules): readonly [Reason, number] => {
  if (mostByRate === undefined || (needs.rps ?? 0) <= mostByRate) return largest(needs);
  const [reason, need] = largest({ ...needs, rps: mostByRate });
  return [reason === "rps" ? "cores" : reason, need];
};

/**
 * How many replicas a load asks for: `ceil(load / (target × proportion))` of each type (OpenFaaS contract §5.3) and the
 * slots that are wanted now, the highest of them, from the least to the most replicas of the function. A rate asks for no
 * more than its rules let it.
 */
export const recommend = (input: RecommendInput): Recommendation => {
  const { rules, slots, load } = input;
  const needs: Partial<Record<LoadType | "slots", number>> = { slots: slotNeed(input) };
  for (const type of rules.types) needs[type] = ceil(loadOf(type, load) / perReplica(type, rules, slots));
  const [reason, need] = boundByCores(needs, rules);
  const least = Math.max(1, rules.min);
  if (need < least) return { replicas: least, reason: "min", needs };
  return need > rules.max ? { replicas: rules.max, reason: "max", needs } : { replicas: need, reason, needs };
};
