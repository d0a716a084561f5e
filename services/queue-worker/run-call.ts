import { type Attempt, type CallError, type CallRecord, isFinal } from "../../schemas/call.ts";
import { resultTtlMs } from "../../schemas/annotations.ts";
import { callEventType, type EventData } from "../../schemas/events.ts";
import type { ResponseHead } from "../../schemas/invocation.ts";
import type { FunctionName } from "../../schemas/names.ts";
import { readRetryPolicy, type RetryPolicy } from "../../schemas/retry-policy.ts";
import { callSubject } from "../../schemas/subjects.ts";
import { withoutBodies } from "../bus/call-record-wire.ts";
import type { CallRecords } from "../bus/call-records.ts";
import { publishEvent } from "../bus/events.ts";
import { reportFault } from "../bus/report-fault.ts";
import { isSuperseded, lastFreeWaitMs, nextNumber, putAttempt, reasonToStop } from "./attempts.ts";
import { type CallFile, openCallFile } from "./call-file.ts";
import type { Cancellations } from "./cancellations.ts";
import type { Delivery, RunDelivery, Settlement } from "./delivery.ts";
import { finalRecord } from "./final-record.ts";
import { finishCall, type FinishParts } from "./finish-call.ts";
import type { Functions } from "./functions.ts";
import { type AttemptEnd, type Decision, decideRetry } from "./retry-decision.ts";
import { type AttemptParts, type AttemptResult, runAttempt } from "./run-attempt.ts";
import { untilTaken } from "./until-taken.ts";

/** Who counts what happens to calls. */
export interface CallCounter {
  /** An attempt has come to a replica, so long after it was due. */
  readonly bound: (name: FunctionName, waitedMs: number) => void;
  /** An attempt has ended, with what became of the call. */
  readonly attempted: (name: FunctionName, decision: Decision["kind"]) => void;
  /** A call is over. */
  readonly ended: (name: FunctionName, state: CallRecord["state"]) => void;
}

/** What running calls needs. */
export interface RunParts extends FinishParts, AttemptParts {
  readonly records: Pick<CallRecords, "read" | "write">;
  readonly functions: Pick<Functions, "find">;
  readonly cancellations: Cancellations;
  readonly policy: RetryPolicy;
  readonly counter: CallCounter;
}

// A call that is over before this is not written down as running: that would be another write for each of them.
const shortMs = 25;
// Somebody else was faster with the same call: it is looked at again when they have had their time.
const lostRaceMs = 1000;
const otherWorkerMs = 30_000;

const done: Settlement = { kind: "done" };

/** One call on its way through one delivery. */
interface Run {
  readonly parts: RunParts;
  readonly delivery: Delivery;
  readonly file: CallFile;
  readonly policy: RetryPolicy;
  readonly ttlMs: number;
  readonly dueMs: number;
  readonly stopping: AbortSignal;
}

const dueOf = ({ state, nextMs, runAtMs, queuedMs }: CallRecord): number =>
  (state === "retrying" ? nextMs : undefined) ?? runAtMs ?? queuedMs;

const tell = <S extends "started" | "retrying">(
  { parts: { bus }, delivery: { call } }: Run,
  state: S,
  data: EventData["io.busker.call.started"],
): void => {
  // Of use to who watches, and no more: the record says it too.
  if (!bus.isConnected()) return;
  publishEvent(bus, {
    subject: callSubject(state, call.function.namespace, call.function.name),
    type: callEventType(state),
    id: `${call.id}.${state}.${data.attempts}`,
    data,
  });
};

/** The call is over by its record: what follows that is done, again perhaps, before it leaves the queue. */
const leaveQueue = async ({ parts, file, stopping }: Run): Promise<Settlement> => {
  if (file.record().state === "cancelled") parts.counter.ended(file.record().function, "cancelled");
  await untilTaken(stopping, () => finishCall(parts, file.whole()));
  return done;
};

const end = async (
  run: Run,
  attempt: Attempt | undefined,
  how: { readonly state: "succeeded" | "dead"; readonly error?: CallError; readonly result?: AttemptResult },
): Promise<Settlement> => {
  const { parts, delivery, file, ttlMs, stopping } = run;
  const endedMs = attempt?.endedMs ?? Date.now();
  const maxBytes = parts.bus.nc.info?.max_payload ?? Number.POSITIVE_INFINITY;
  const make = (record: CallRecord) => {
    const attempts = attempt ? putAttempt(record.attempts, attempt) : record.attempts;
    return finalRecord(record, { call: delivery.call, attempts, endedMs, ttlMs, maxBytes, ...how });
  };
  const isWritten = await untilTaken(stopping, () => file.change(make));
  const { state, endedMs: writtenMs } = file.record();
  // A write that nobody acknowledged may have been done nevertheless: then what is there is what was to be.
  const isOurs = isWritten || (state === how.state && writtenMs === endedMs);
  if (isOurs) parts.counter.ended(delivery.call.function, how.state);
  return isOurs || state === "cancelled" ? leaveQueue(run) : { kind: "retry", delayMs: lostRaceMs };
};

const endOf = (result: Exclude<AttemptResult, { readonly kind: "stopped" }>): AttemptEnd => {
  if (result.kind === "failed") return result;
  const { status, headers } = result.head;
  const at = headers.findIndex((name, index) => index % 2 === 0 && name.toLowerCase() === "retry-after");
  return { kind: "answered", status, retryAfter: at < 0 ? undefined : headers[at + 1] };
};

/** Writes the call down as waiting for its next attempt. */
const waitForNext = async (run: Run, attempt: Attempt, delayMs: number): Promise<Settlement> => {
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
    if (state === "cancelled") return leaveQueue(run);
    return { kind: "retry", delayMs: isFinal(state) ? lostRaceMs : otherWorkerMs };
  }
  return { kind: "retry", delayMs: Math.max(0, nextMs - Date.now()) };
};

const conclude = async (run: Run, begun: Attempt, result: AttemptResult, lastWaitMs: number): Promise<Settlement> => {
  const { parts, delivery, file, policy, stopping } = run;
  const { call } = delivery;
  const endedMs = Date.now();
  if (result.kind === "stopped") {
    if (!stopping.aborted) {
      // Cancelled, if it really is: the record says so.
      await file.refresh();
      return isFinal(file.record().state) ? leaveQueue(run) : { kind: "retry", delayMs: 0 };
    }
    const error: CallError = { code: "cancelled", message: "its queue-worker was stopped in the middle of the attempt" };
    return waitForNext(run, { ...begun, endedMs, error, isFree: true }, 0);
  }
  const { number } = begun;
  const ended = endOf(result);
  const facts = { number, policy, lastFreeWaitMs: lastWaitMs, nowMs: endedMs, random: Math.random() };
  const decision = decideRetry(ended, facts);
  parts.counter.attempted(call.function, decision.kind);
  const what = ended.kind === "answered" ? { status: ended.status } : { error: ended.error };
  const attempt: Attempt = { ...begun, endedMs, ...what };
  if (decision.kind === "succeeded") return end(run, attempt, { state: "succeeded", result });
  if (decision.kind === "dead") return end(run, attempt, { state: "dead", error: decision.reason, result });
  const { delayMs, isFree } = decision;
  const durationMs = endedMs - begun.startedMs;
  tell(run, "retrying", { id: call.id, atMs: endedMs, attempts: number, ...what, durationMs, nextMs: endedMs + delayMs });
  return waitForNext(run, isFree ? { ...attempt, isFree } : attempt, delayMs);
};

type PartsResponse = NonNullable<CallRecord["response"]>;

/** Writes the call down as running, its response with it once that is being written. */
const noteRunning = (run: Run, attempt: Attempt, response?: PartsResponse): Promise<boolean> =>
  run.file.change((record) => {
    if (isSuperseded(record.attempts, attempt)) return undefined;
    const { nextMs: _due, response: before, ...rest } = record;
    const written = response ?? (before?.body.name === String(attempt.number) ? before : undefined);
    const attempts = putAttempt(record.attempts, attempt);
    return withoutBodies({ ...rest, state: "running", attempts, ...(written && { response: written }) });
  });

/** What is said of an attempt while it runs. */
interface Telling {
  /** As it is known by now. */
  readonly attempt: () => Attempt;
  readonly onBound: () => void;
  readonly onParts: (head: ResponseHead) => void;
  readonly stop: () => void;
}

const tellOf = (run: Run, number: number, isNoted: boolean, cancel: () => void): Telling => {
  const { parts, delivery, file, dueMs } = run;
  const { id, function: name } = delivery.call;
  let attempt: Attempt = { number, startedMs: Date.now() };
  let timer: NodeJS.Timeout | undefined;
  let isBound = false;
  const note = (response?: PartsResponse): void => {
    noteRunning(run, attempt, response).then(
      // It was cancelled before anybody knew that it runs here.
      (isWritten) => isWritten || !isFinal(file.record().state) || cancel(),
      (cause: unknown) => reportFault(`could not write down that call ${id} is running`, cause),
    );
  };
  return {
    attempt: () => attempt,
    onBound: () => {
      const nowMs = Date.now();
      if (!isNoted) {
        attempt = { number, startedMs: nowMs };
        clearTimeout(timer);
        timer = setTimeout(note, shortMs);
      }
      if (isBound) return;
      isBound = true;
      const waitedMs = Math.max(0, nowMs - dueMs);
      parts.counter.bound(name, waitedMs);
      tell(run, "started", { id, atMs: nowMs, attempts: number, waitedMs });
    },
    onParts: (head) => note({ ...head, body: { bytes: 0, place: "parts", name: String(number) } }),
    stop: () => clearTimeout(timer),
  };
};

const runOnce = async (run: Run): Promise<Settlement> => {
  const { parts, delivery, file, policy, stopping } = run;
  const { call } = delivery;
  const number = nextNumber(file.record());
  const lastWaitMs = lastFreeWaitMs(file.record());
  // It was handed out before, and nobody knows whether somebody had begun. One that ends its queue-worker each time must
  // end itself, so that this attempt is on record before it begins.
  const isNoted = delivery.deliveryCount > 1;
  const { signal, cancel, forget } = parts.cancellations.of(call.id);
  const telling = tellOf(run, number, isNoted, cancel);
  stopping.addEventListener("abort", cancel, { once: true });
  try {
    if (isNoted && !(await noteRunning(run, telling.attempt())))
      return isFinal(file.record().state) ? await leaveQueue(run) : { kind: "retry", delayMs: otherWorkerMs };
    const { onBound, onParts } = telling;
    const result = await runAttempt(parts, call, { number, allowed: policy.attempts, signal, onBound, onParts });
    telling.stop();
    delivery.release();
    return await conclude(run, telling.attempt(), result, lastWaitMs);
  } finally {
    telling.stop();
    stopping.removeEventListener("abort", cancel);
    forget();
  }
};

/** Creates what the lanes run each delivery with: one attempt at its call, or what is still to be done of one that is over. */
export const createRunner =
  (parts: RunParts): RunDelivery =>
  async (delivery, stopping) => {
    const { call } = delivery;
    const file = await openCallFile(parts.records, call);
    const record = file.record();
    const spec = parts.functions.find(call.function)?.spec ?? {};
    const policy = readRetryPolicy(spec, parts.policy);
    const dueMs = dueOf(record);
    const run: Run = { parts, delivery, file, policy, ttlMs: resultTtlMs(spec), dueMs, stopping };
    if (isFinal(record.state)) return leaveQueue(run);
    // A consumer that was made again hands out what was put off, too.
    const earlyMs = dueMs - Date.now();
    if (earlyMs > 0) return { kind: "retry", delayMs: earlyMs };
    const reason = reasonToStop(record, policy.attempts);
    return reason ? end(run, undefined, { state: "dead", error: reason }) : runOnce(run);
  };
