import type { ReplicaView } from "./function-state.ts";

/** Since when a revision is being started with no replica of it ready yet. */
export interface SlowStart {
  readonly revision: string;
  /** Milliseconds since the epoch. */
  readonly sinceMs: number;
}

// Whoever deploys is answered after as long.
const patienceMs = 20_000;

/** Goes on with, begins or ends the wait for a revision's first ready replica. */
export const followStart = (
  before: SlowStart | undefined,
  revision: string | undefined,
  replicas: readonly Pick<ReplicaView, "revision" | "state" | "stopping" | "readyMs">[],
  nowMs: number,
): SlowStart | undefined => {
  const own = replicas.filter((replica) => replica.revision === revision && !replica.stopping);
  const isWaiting = own.some(({ state }) => state === "starting") && own.every(({ readyMs }) => readyMs === undefined);
  if (revision === undefined || !isWaiting) return undefined;
  return before?.revision === revision ? before : { revision, sinceMs: nowMs };
};

/**
 * How long the wait has been, in steps that double: what is written into the status changes seldom. Gives the step
 * passed last (0: none yet) and the time of the next.
 */
export const stepOfStart = (
  { sinceMs }: SlowStart,
  nowMs: number,
): { readonly waitedMs: number; readonly nextMs: number } => {
  let nextMs = patienceMs;
  while (nextMs <= nowMs - sinceMs) nextMs *= 2;
  return { waitedMs: nextMs === patienceMs ? 0 : nextMs / 2, nextMs: sinceMs + nextMs };
};
