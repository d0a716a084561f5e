import { type Attempt, type CallError, type CallRecord, maxAttemptsKept } from "../../schemas/call.ts";

/*
 * The attempts of a record. Numbers count attempts that count: one that never reached the function is kept only until the
 * next one, which takes its number, so that hours without a replica neither use attempts up nor push them out.
 */

/** The number of the attempt that follows. */
export const nextNumber = ({ attempts }: Pick<CallRecord, "attempts">): number => {
  const last = attempts.at(-1);
  return last === undefined ? 1 : last.isFree ? last.number : last.number + 1;
};

/** Puts an attempt, or what has become of it, behind those that came before. */
export const putAttempt = (attempts: readonly Attempt[], attempt: Attempt): readonly Attempt[] =>
  [...attempts.filter(({ number }) => number < attempt.number), attempt].slice(-maxAttemptsKept);

/** Whether somebody else has begun an attempt since this one, or in its place. */
export const isSuperseded = (attempts: readonly Attempt[], { number, startedMs }: Attempt): boolean => {
  const last = attempts.at(-1);
  if (last === undefined || last.number < number) return false;
  return last.number > number || (last.startedMs !== startedMs && last.isFree !== true);
};

/** How long was waited for the attempt that comes now, when the one before it never reached the function; else 0. */
export const lastFreeWaitMs = ({ attempts, nextMs }: Pick<CallRecord, "attempts" | "nextMs">): number => {
  const last = attempts.at(-1);
  return last?.isFree && last.endedMs !== undefined && nextMs !== undefined ? Math.max(0, nextMs - last.endedMs) : 0;
};

/** Why no further attempt may be made, where so many are allowed; undefined when one may. */
export const reasonToStop = (record: Pick<CallRecord, "attempts">, allowed: number): CallError | undefined => {
  const last = record.attempts.at(-1);
  if (last === undefined || nextNumber(record) <= allowed) return undefined;
  const where = `in the last of ${last.number} attempts`;
  if (last.endedMs === undefined)
    return { code: "internal", message: `the queue-worker that ran the call was lost ${where}` };
  return last.error ?? { code: "function_failed", message: `the function answered ${last.status} ${where}` };
};
