import { BuskerError } from "../../schemas/errors.ts";

/**
 * Tells of a fault that nobody waits for, as a warning of the process: on stderr, unless it listens for `warning`. The
 * library has no log of its own, and a swallowed error is found by nobody.
 */
export const reportFault = (what: string, cause: unknown): void => {
  const reason = cause instanceof Error ? cause.message : String(cause);
  // What passes by itself, a server that is away above all, is nothing to debug.
  const passes = cause instanceof BuskerError && cause.retryable;
  const detail = cause instanceof Error && !passes ? cause.stack : undefined;
  process.emitWarning(`${what}: ${reason}`, { type: "BuskerWarning", ...(detail === undefined ? {} : { detail }) });
};

// Who sends what cannot be read can send it a thousand times a second.
const everyMs = 1000;

/** A `reportFault` that tells at most one fault a second, and how many it has not told. */
export const createFaultReporter = (
  report: typeof reportFault = reportFault,
  nowMs: () => number = Date.now,
): typeof reportFault => {
  let toldMs = -everyMs;
  let untold = 0;
  return (what, cause) => {
    if (nowMs() - toldMs < everyMs) {
      untold += 1;
      return;
    }
    report(untold === 0 ? what : `${what} (and ${untold} more since the last report)`, cause);
    toldMs = nowMs();
    untold = 0;
  };
};
