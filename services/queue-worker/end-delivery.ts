import { type Attempt, type CallError, type CallRecord, isFinal } from "../../schemas/call.ts";
import { maxResultAgeMs } from "../../schemas/topology.ts";
import { type WholeRecord, withoutBodies } from "../bus/call-record-wire.ts";
import { isSuperseded, putAttempt } from "./attempts.ts";
import { leaveToOther, type Run } from "./call-run.ts";
import type { Settlement } from "./delivery.ts";
import { finalRecord } from "./final-record.ts";
import { finishCall } from "./finish-call.ts";
import type { AttemptResult } from "./run-attempt.ts";
import { untilTaken } from "./until-taken.ts";

// Somebody else was faster with the same call: it is looked at again when they have had their time.
const lostRaceMs = 1000;

/** The call is over by its record: what follows that is done, again perhaps, before it leaves the queue. */
export const leaveQueue = async ({ parts, file, ttlMs, stopping }: Run): Promise<Settlement> => {
  if (file.record().state === "cancelled") parts.counter.ended(file.record().function, "cancelled");
  await untilTaken(stopping, () => finishCall(parts, file.whole()));
  // One that was cancelled is kept for as long as it is in the queue: without its record it would be run.
  await untilTaken(stopping, () => file.keepUntil(Date.now() + Math.min(ttlMs, maxResultAgeMs)));
  return { kind: "done" };
};

/** Ends the call: its final record, written by exactly one, and what follows it. */
export const endCall = async (
  run: Run,
  attempt: Attempt | undefined,
  how: { readonly state: "succeeded" | "dead"; readonly error?: CallError; readonly result?: AttemptResult },
): Promise<Settlement> => {
  const { parts, delivery, file, ttlMs, stopping } = run;
  const endedMs = attempt?.endedMs ?? Date.now();
  const maxBytes = parts.bus.nc.info?.max_payload ?? Number.POSITIVE_INFINITY;
  const make = (record: CallRecord): WholeRecord => {
    const attempts = attempt ? putAttempt(record.attempts, attempt) : record.attempts;
    return finalRecord(record, { call: delivery.call, attempts, endedMs, ttlMs, maxBytes, ...how });
  };
  const isWritten = await untilTaken(stopping, () => file.change(make));
  const { state, endedMs: writtenMs } = file.record();
  // A write that nobody acknowledged may have been done nevertheless: then what is there is what was to be.
  const isOurs = isWritten || (state === how.state && writtenMs === endedMs && !file.isOthers());
  if (isOurs) parts.counter.ended(delivery.call.function, how.state);
  return isOurs || (state === "cancelled" && !file.isOthers())
    ? leaveQueue(run)
    : { kind: "retry", delayMs: lostRaceMs };
};

/** Writes the call down as waiting for its next attempt. */
export const waitForNext = async (run: Run, attempt: Attempt, delayMs: number): Promise<Settlement> => {
  const { file, stopping } = run;
  const nextMs = (attempt.endedMs ?? Date.now()) + delayMs;
  const isWritten = await untilTaken(stopping, () =>
    file.change(({ response: _parts, ...record }) =>
      isSuperseded(record.attempts, attempt)
        ? undefined
        : withoutBodies({ ...record, state: "retrying", nextMs, attempts: putAttempt(record.attempts, attempt) }),
    ),
  );
  const { state } = file.record();
  if (!isWritten) {
    if (state === "cancelled" && !file.isOthers()) return leaveQueue(run);
    return isFinal(state) ? { kind: "retry", delayMs: lostRaceMs } : leaveToOther;
  }
  return { kind: "retry", delayMs: Math.max(0, nextMs - Date.now()) };
};
