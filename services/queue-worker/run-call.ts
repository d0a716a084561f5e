import { resultTtlMs } from "../../schemas/annotations.ts";
import { type Attempt, type CallError, type CallRecord, isFinal } from "../../schemas/call.ts";
import { readRetryPolicy } from "../../schemas/retry-policy.ts";
import { withoutBodies } from "../bus/call-record-wire.ts";
import { inOwnName } from "../bus/call-ids.ts";
import { lastFreeWaitMs, nextNumber, reasonToStop } from "./attempts.ts";
import { noteRunning, openTelling } from "./attempt-telling.ts";
import { openCallFile } from "./call-file.ts";
import { leaveToOther, type Run, type RunParts, tell } from "./call-run.ts";
import { countAttempt } from "./count-attempt.ts";
import type { RunDelivery, Settlement } from "./delivery.ts";
import { endCall, leaveQueue, waitForNext } from "./end-delivery.ts";
import { type AttemptEnd, decideRetry } from "./retry-decision.ts";
import { type AttemptResult, runAttempt } from "./run-attempt.ts";
import { traceAttempt } from "./trace-attempt.ts";

const dueOf = ({ state, nextMs, runAtMs, queuedMs }: CallRecord): number =>
  (state === "retrying" ? nextMs : undefined) ?? runAtMs ?? queuedMs;

const endOf = (result: Exclude<AttemptResult, { readonly kind: "stopped" }>): AttemptEnd => {
  if (result.kind === "failed") return result;
  const { status, headers } = result.head;
  const at = headers.findIndex((name, index) => index % 2 === 0 && name.toLowerCase() === "retry-after");
  return { kind: "answered", status, retryAfter: at < 0 ? undefined : headers[at + 1] };
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
    const error: CallError = {
      code: "cancelled",
      message: "its queue-worker was stopped in the middle of the attempt",
    };
    return waitForNext(run, { ...begun, endedMs, error, isFree: true }, 0);
  }
  const { number } = begun;
  const ended = endOf(result);
  const facts = { number, policy, lastFreeWaitMs: lastWaitMs, nowMs: endedMs, random: Math.random() };
  const decision = decideRetry(ended, facts);
  parts.counter.attempted(call.function, decision.kind);
  const what = ended.kind === "answered" ? { status: ended.status } : { error: ended.error };
  const attempt: Attempt = { ...begun, endedMs, ...what };
  if (decision.kind === "succeeded") return endCall(run, attempt, { state: "succeeded", result });
  if (decision.kind === "dead") return endCall(run, attempt, { state: "dead", error: decision.reason, result });
  const { delayMs, isFree } = decision;
  const durationMs = endedMs - begun.startedMs;
  tell(run, "retrying", {
    id: call.id,
    atMs: endedMs,
    attempts: number,
    ...what,
    durationMs,
    nextMs: endedMs + delayMs,
  });
  return waitForNext(run, isFree ? { ...attempt, isFree } : attempt, delayMs);
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
  const telling = openTelling(run, number, isNoted, cancel);
  stopping.addEventListener("abort", cancel, { once: true });
  try {
    if (isNoted && !(await noteRunning(run, telling.attempt())))
      return isFinal(file.record().state) ? await leaveQueue(run) : leaveToOther;
    const { onParts } = telling;
    const trace = parts.tracing && traceAttempt(parts.tracing, { call, number, record: file.record() });
    const onBound = (): void => {
      trace?.bound();
      telling.onBound();
    };
    const watch = { number, allowed: policy.attempts, signal, trace: trace?.headers, onBound, onParts };
    const result = await countAttempt(parts, call.function, () => runAttempt(parts, call, watch));
    trace?.end(result);
    telling.stop();
    delivery.release();
    return await conclude(run, telling.attempt(), result, lastWaitMs);
  } finally {
    telling.stop();
    stopping.removeEventListener("abort", cancel);
    forget();
  }
};

// A record goes when nobody has written it for a week: one that waits for longer is written again each day.
const longestWaitMs = 24 * 3600_000;

const waitLonger = async ({ file }: Run, earlyMs: number): Promise<Settlement> => {
  if (earlyMs <= longestWaitMs) return { kind: "retry", delayMs: earlyMs };
  // One that is over is found so when it comes again.
  await file.change(withoutBodies);
  return { kind: "retry", delayMs: longestWaitMs };
};

/** Creates what the lanes run each delivery with: one attempt at its call, or what is still to be done of one that is over. */
export const createRunner =
  (parts: RunParts): RunDelivery =>
  async (delivery, stopping) => {
    const { call } = delivery;
    const file = await openCallFile(parts.records, call);
    if (file.isOthers()) {
      await parts.acceptor.accept(inOwnName(call));
      return { kind: "done" };
    }
    const record = file.record();
    const spec = parts.functions.find(call.function)?.spec ?? {};
    const policy = readRetryPolicy(spec, parts.policy);
    const dueMs = dueOf(record);
    const run: Run = { parts, delivery, file, policy, ttlMs: resultTtlMs(spec), dueMs, stopping };
    if (isFinal(record.state)) return leaveQueue(run);
    if (stopping.aborted) return { kind: "retry", delayMs: 0 };
    // A consumer that was made again hands out what was put off, too.
    const earlyMs = dueMs - Date.now();
    if (earlyMs > 0) return waitLonger(run, earlyMs);
    const reason = reasonToStop(record, policy.attempts);
    return reason ? endCall(run, undefined, { state: "dead", error: reason }) : runOnce(run);
  };
