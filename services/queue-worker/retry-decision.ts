import type { CallError } from "../../schemas/call.ts";
import type { ErrorCode } from "../../schemas/errors.ts";
import type { RetryPolicy } from "../../schemas/retry-policy.ts";

/** How one attempt ended, as far as what comes next depends on it. */
export type AttemptEnd =
  /** The function answered. */
  | { readonly kind: "answered"; readonly status: number; readonly retryAfter?: string | undefined }
  /** There is no answer of the function. */
  | { readonly kind: "failed"; readonly error: CallError };

/** What is known when an attempt has ended. */
export interface AttemptFacts {
  /** Attempts that count, this one included: 1, 2, 3 … */
  readonly number: number;
  readonly policy: RetryPolicy;
  /** How long was waited before this attempt, when the one before it was free too; else 0. */
  readonly lastFreeWaitMs: number;
  readonly nowMs: number;
  /** From 0 to less than 1. */
  readonly random: number;
}

/** What becomes of a call after an attempt. */
export type Decision =
  | { readonly kind: "succeeded" }
  | { readonly kind: "dead"; readonly reason: CallError }
  /** `isFree`: the function was never reached, so that the attempt does not count. */
  | { readonly kind: "retry"; readonly delayMs: number; readonly isFree: boolean };

/** The function was never reached: no fault of the call, and never a reason to give it up. */
const freeCodes: ReadonlySet<ErrorCode> = new Set([
  "no_replica",
  "bus_unavailable",
  "line_full",
  "replica_busy",
  "provider_unavailable",
]);

/** The platform or the clock broke the attempt off: tried again while attempts are left, whatever the policy's codes. */
const brokenCodes: ReadonlySet<ErrorCode> = new Set(["replica_lost", "function_unreachable", "deadline_exceeded"]);

/** The function failed without an answer of its own: as if it had answered 500. */
const failedCodes: ReadonlySet<ErrorCode> = new Set(["function_failed", "start_failed", "internal"]);

const firstFreeWaitMs = 500;
const longestFreeWaitMs = 30_000;
// A function that asks for more is taken for one that is mistaken.
const longestRetryAfterMs = 24 * 3600_000;

// Half of it is certain and half by chance, so that calls that failed together do not come back together.
const jitter = (waitMs: number, random: number): number => Math.round(waitMs * (0.5 + random / 2));

const freeWaitMs = ({ lastFreeWaitMs, random }: AttemptFacts): number =>
  jitter(Math.min(longestFreeWaitMs, Math.max(firstFreeWaitMs, lastFreeWaitMs * 2)), random);

const backOffMs = ({ number, policy, random }: AttemptFacts): number =>
  jitter(Math.min(policy.maxWaitMs, policy.minWaitMs * 2 ** Math.min(number - 1, 40)), random);

/** Milliseconds that a `Retry-After` asks for: seconds, or an HTTP date (RFC 9110 §10.2.3); undefined when it is neither. */
export const readRetryAfterMs = (text: string, nowMs: number): number | undefined => {
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  // Date.parse takes much that is no HTTP date; all three forms of those begin with a weekday.
  const atMs = /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun)/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(atMs) ? undefined : Math.max(0, atMs - nowMs);
};

const askedWaitMs = (end: AttemptEnd, { policy, nowMs }: AttemptFacts): number | undefined => {
  if (end.kind !== "answered" || end.retryAfter === undefined || (end.status !== 429 && end.status !== 503))
    return undefined;
  const askedMs = readRetryAfterMs(end.retryAfter.trim(), nowMs);
  return askedMs === undefined ? undefined : Math.min(longestRetryAfterMs, Math.max(policy.minWaitMs, askedMs));
};

const mayBeTriedAgain = (end: AttemptEnd, { codes }: RetryPolicy): boolean => {
  if (end.kind === "answered") return codes.includes(end.status);
  return brokenCodes.has(end.error.code) || (failedCodes.has(end.error.code) && codes.includes(500));
};

const reasonOf = (end: AttemptEnd, isExhausted: boolean, { number }: AttemptFacts): CallError => {
  const last = isExhausted ? ` in the last of ${number} attempts` : "";
  return end.kind === "answered"
    ? { code: "function_failed", message: `the function answered ${end.status}${last}` }
    : { code: end.error.code, message: `${end.error.message}${isExhausted ? `,${last}` : ""}` };
};

/**
 * What becomes of a call after an attempt (contract §4.4): an answer of 1xx to 3xx is a success unless the policy lists it;
 * what never reached the function is tried for ever, without counting; what the platform broke off and what the policy
 * lists is tried until there are no attempts left; everything else is final.
 */
export const decideRetry = (end: AttemptEnd, facts: AttemptFacts): Decision => {
  const { number, policy } = facts;
  if (end.kind === "failed" && freeCodes.has(end.error.code))
    return { kind: "retry", delayMs: freeWaitMs(facts), isFree: true };
  if (mayBeTriedAgain(end, policy))
    return number < policy.attempts
      ? { kind: "retry", delayMs: askedWaitMs(end, facts) ?? backOffMs(facts), isFree: false }
      : { kind: "dead", reason: reasonOf(end, true, facts) };
  if (end.kind === "answered" && end.status < 400) return { kind: "succeeded" };
  return { kind: "dead", reason: reasonOf(end, false, facts) };
};
