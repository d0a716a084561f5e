import { BuskerError } from "./errors.ts";
import { parseDurationMs } from "./function.ts";
import { type Priority, priorities } from "./subjects.ts";

/** What headers ask of a durable call, besides what its function reads in them. */
export interface CallOptions {
  /** Whom to tell the response. */
  readonly callbackUrl?: string;
  /** Milliseconds since the epoch: not before. */
  readonly runAtMs?: number;
  readonly priority: Priority;
}

/** The farthest that a call may be put off, in milliseconds. */
export const maxDelayMs = 365 * 24 * 3600_000;

/** The first value of a header in names and values in turn, whatever its case. */
export const findHeader = (headers: readonly string[], name: string): string | undefined => {
  const wanted = name.toLowerCase();
  for (let at = 0; at + 1 < headers.length; at += 2)
    if (headers[at]?.length === wanted.length && headers[at]?.toLowerCase() === wanted) return headers[at + 1]?.trim();
  return undefined;
};

const refuse = (header: string, rule: string, value: string): BuskerError =>
  new BuskerError("invalid_request", `${header} must be ${rule}; got ${JSON.stringify(value.slice(0, 200))}`);

const readCallback = (value: string): string => {
  if (!URL.canParse(value) || !/^https?:$/.test(new URL(value).protocol))
    throw refuse("X-Callback-Url", "an http or https URL", value);
  return value;
};

const readDelay = (value: string, acceptedMs: number): number => {
  const delayMs = parseDurationMs(value);
  if (delayMs === undefined || delayMs > maxDelayMs)
    throw refuse("X-Delay", "whole seconds or a duration such as 1m30s, of a year at most", value);
  return acceptedMs + delayMs;
};

const isoTime = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:?\d\d)$/;

const readRunAt = (value: string, acceptedMs: number): number => {
  const atMs = /^\d{1,12}$/.test(value) ? Number(value) * 1000 : isoTime.test(value) ? Date.parse(value) : Number.NaN;
  if (!(atMs <= acceptedMs + maxDelayMs))
    throw refuse("X-Run-At", "an RFC 3339 time with its zone or Unix seconds, within a year", value);
  return atMs;
};

const readPriority = (value: string): Priority => {
  const known = priorities.find((priority) => priority === value.toLowerCase());
  if (known === undefined) throw refuse("X-Priority", `one of ${priorities.join(", ")}`, value);
  return known;
};

/**
 * Reads what a durable call's headers (names and values in turn) ask for: `X-Callback-Url`, `X-Delay` or `X-Run-At`,
 * `X-Priority`. Throws `invalid_request` naming the header, the rule and the value. What is past is due at once.
 */
export const readCallOptions = (headers: readonly string[], acceptedMs: number): CallOptions => {
  const callback = findHeader(headers, "X-Callback-Url");
  const delay = findHeader(headers, "X-Delay");
  const runAt = findHeader(headers, "X-Run-At");
  const priority = findHeader(headers, "X-Priority");
  if (delay && runAt) throw refuse("X-Delay", "absent where there is X-Run-At", delay);
  const dueMs = delay ? readDelay(delay, acceptedMs) : runAt ? readRunAt(runAt, acceptedMs) : acceptedMs;
  return {
    ...(callback ? { callbackUrl: readCallback(callback) } : {}),
    ...(dueMs > acceptedMs ? { runAtMs: dueMs } : {}),
    priority: priority ? readPriority(priority) : "normal",
  };
};
