import { BuskerError } from "../../schemas/errors.ts";
import { defaultRetryPolicy, maxAttempts, parseRetryCodes, type RetryPolicy } from "../../schemas/retry-policy.ts";
import { defaultMaxResultBytes } from "../bus/result-parts.ts";
import {
  durationField,
  type Environment,
  type Field,
  integerField,
  portField,
  readConfig,
  textField,
} from "../runtime/config.ts";
import { type OutcomesConfig, outcomesFields } from "./outcomes/config.ts";

/** What a queue-worker is told by its environment. */
export interface QueueWorkerConfig extends OutcomesConfig {
  readonly natsUrl: string;
  readonly credentialsFile: string;
  /** Where its metrics are listened for. */
  readonly host: string;
  readonly metricsPort: number;
  /** After so long without a sign of this worker another one gets its calls, in milliseconds. */
  readonly leaseMs: number;
  /** Calls in hand at a time, of all functions together. */
  readonly maxCalls: number;
  /** Largest response that is kept, in bytes. */
  readonly maxResultBytes: number;
  /** How calls are tried again of functions that say nothing of it. */
  readonly retry: RetryPolicy;
}

const gibibyte = 1024 ** 3;

const codesField = (key: string, fallback: readonly number[]): Field<readonly number[]> => ({
  key,
  read: (text) => {
    const codes = text === undefined ? fallback : parseRetryCodes(text);
    if (codes) return codes;
    throw new RangeError("must be HTTP statuses joined by commas");
  },
});

const checkWaits = ({ minWaitMs, maxWaitMs }: RetryPolicy): void => {
  if (minWaitMs > maxWaitMs)
    throw new BuskerError(
      "invalid_request",
      `BUSKER_RETRY_MAX_WAIT must be at least BUSKER_RETRY_MIN_WAIT, which is ${minWaitMs} ms; got ${maxWaitMs} ms`,
    );
};

/** Reads a queue-worker's configuration; throws `invalid_request` naming every key that is wrong. */
export const readQueueWorkerConfig = (env: Environment): QueueWorkerConfig => {
  const { attempts, codes, minWaitMs, maxWaitMs, ...config } = readConfig(env, {
    natsUrl: textField("BUSKER_NATS_URL", "nats://127.0.0.1:4222"),
    credentialsFile: textField("BUSKER_CREDENTIALS"),
    host: textField("BUSKER_HOST", "127.0.0.1"),
    metricsPort: portField("BUSKER_METRICS_PORT", 8083),
    leaseMs: durationField("BUSKER_LEASE", 5000),
    maxCalls: integerField("BUSKER_MAX_CALLS", { min: 1, max: 100_000 }, 1000),
    maxResultBytes: integerField("BUSKER_MAX_RESULT_BYTES", { min: 1, max: 1024 * gibibyte }, defaultMaxResultBytes),
    attempts: integerField("BUSKER_RETRY_ATTEMPTS", { min: 1, max: maxAttempts }, defaultRetryPolicy.attempts),
    codes: codesField("BUSKER_RETRY_CODES", defaultRetryPolicy.codes),
    minWaitMs: durationField("BUSKER_RETRY_MIN_WAIT", defaultRetryPolicy.minWaitMs),
    maxWaitMs: durationField("BUSKER_RETRY_MAX_WAIT", defaultRetryPolicy.maxWaitMs),
    ...outcomesFields,
  });
  const retry = { attempts, codes, minWaitMs, maxWaitMs };
  checkWaits(retry);
  return Object.freeze({ ...config, retry });
};
