/** Failed starts in a row of one function's revision, and when the next is tried. */
export interface BackOff {
  readonly revision: string;
  readonly failures: number;
  /** Milliseconds since the epoch. */
  readonly nextTryAtMs: number;
}

/** How a replica ended against its provider's wish. */
export interface Crash {
  readonly revision: string;
  readonly signal: NodeJS.Signals | null;
  /** How long it had been ready; 0 when it never was. */
  readonly readyForMs: number;
  readonly nowMs: number;
}

const firstWaitMs = 200;
const longestWaitMs = 30_000;

/** A replica that has been ready for this long works: what went before is forgotten, in milliseconds. */
export const stableMs = 10_000;

/**
 * The back-off after a crash. A replica that has worked is replaced at once, and so is one that ended by SIGXCPU: it
 * cut a call at its deadline, which says nothing against the next one.
 */
export const afterCrash = (before: BackOff | undefined, crash: Crash): BackOff | undefined => {
  if (crash.signal === "SIGXCPU") return before;
  if (crash.readyForMs >= stableMs) return undefined;
  const failures = (before?.revision === crash.revision ? before.failures : 0) + 1;
  const waitMs = Math.min(firstWaitMs * 2 ** (failures - 1), longestWaitMs);
  return { revision: crash.revision, failures, nextTryAtMs: crash.nowMs + waitMs };
};
