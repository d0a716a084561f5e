import { type FunctionSpec, parseDurationMs } from "./function.ts";

/** When a durable call is tried again (contract §4.4). Waits in milliseconds. */
export interface RetryPolicy {
  /** Attempts in all. */
  readonly attempts: number;
  /** Statuses of the function after which it is tried again. */
  readonly codes: readonly number[];
  readonly minWaitMs: number;
  readonly maxWaitMs: number;
}

/** What a function has that says nothing. */
export const defaultRetryPolicy: RetryPolicy = {
  attempts: 10,
  codes: [408, 429, 500, 502, 503, 504],
  minWaitMs: 10_000,
  maxWaitMs: 120_000,
};

/** The annotations by which a function's calls are tried again. */
export const retryAnnotations = {
  attempts: "com.openfaas.retry.attempts",
  codes: "com.openfaas.retry.codes",
  minWait: "com.openfaas.retry.min_wait",
  maxWait: "com.openfaas.retry.max_wait",
} as const;

/** The most attempts that an annotation may ask for. */
export const maxAttempts = 10_000;

const longestWaitMs = 24 * 3600_000;

const readAttempts = (text: string): number | undefined => {
  const attempts = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  return attempts >= 1 && attempts <= maxAttempts ? attempts : undefined;
};

/** HTTP statuses joined by commas; undefined when the text is something else. */
export const parseRetryCodes = (text: string): readonly number[] | undefined => {
  const codes = text.split(",").map((code) => code.trim());
  return codes.every((code) => /^[1-5]\d\d$/.test(code)) ? codes.map(Number) : undefined;
};

const readWait = (text: string): number | undefined => {
  const waitMs = parseDurationMs(text);
  return waitMs !== undefined && waitMs > 0 && waitMs <= longestWaitMs ? waitMs : undefined;
};

const faultOf = (annotation: string, rule: string, value: string): string =>
  `annotation ${annotation} must be ${rule}; got ${JSON.stringify(value)}`;

/** What is wrong with a function's annotations about retries, a sentence each; empty when nothing is. */
export const checkRetryAnnotations = ({ annotations = {} }: Pick<FunctionSpec, "annotations">): readonly string[] => {
  const { attempts, codes, minWait, maxWait } = retryAnnotations;
  const faults: string[] = [];
  const check = (annotation: string, rule: string, read: (text: string) => unknown): void => {
    const value = annotations[annotation];
    if (value !== undefined && read(value) === undefined) faults.push(faultOf(annotation, rule, value));
  };
  check(attempts, `a whole number from 1 to ${maxAttempts}`, readAttempts);
  check(codes, "HTTP statuses joined by commas", parseRetryCodes);
  check(minWait, "a duration such as 500ms or 10s, of a day at most", readWait);
  check(maxWait, "a duration such as 500ms or 10s, of a day at most", readWait);
  const policy = readRetryPolicy({ annotations });
  const [min, max] = [annotations[minWait], annotations[maxWait]];
  if (faults.length === 0 && min !== undefined && max !== undefined && policy.minWaitMs > policy.maxWaitMs)
    faults.push(faultOf(maxWait, `at least ${minWait}, which is ${JSON.stringify(min)}`, max));
  return faults;
};

/**
 * How a function's durable calls are tried again; what an annotation does not say, or says wrongly, is as in `defaults`. A
 * wait of its own that is beyond the other one's default moves that one.
 */
export const readRetryPolicy = (
  { annotations = {} }: Pick<FunctionSpec, "annotations">,
  defaults: RetryPolicy = defaultRetryPolicy,
): RetryPolicy => {
  const read = <T>(annotation: string, parse: (text: string) => T | undefined): T | undefined => {
    const text = annotations[annotation];
    return text === undefined ? undefined : parse(text);
  };
  const minWaitMs = read(retryAnnotations.minWait, readWait);
  const maxWaitMs = read(retryAnnotations.maxWait, readWait);
  return {
    attempts: read(retryAnnotations.attempts, readAttempts) ?? defaults.attempts,
    codes: read(retryAnnotations.codes, parseRetryCodes) ?? defaults.codes,
    minWaitMs: minWaitMs ?? Math.min(defaults.minWaitMs, maxWaitMs ?? defaults.minWaitMs),
    maxWaitMs: maxWaitMs ?? Math.max(defaults.maxWaitMs, minWaitMs ?? defaults.maxWaitMs),
  };
};
