import { BuskerError } from "../../../schemas/errors.ts";
import { type Outcome, outcomeKey, type TakenOutcome } from "../../bus/outcomes.ts";
import { describeError } from "../../runtime/log.ts";
import { release } from "../../runtime/release.ts";
import { readRetryAfterMs } from "../retry-decision.ts";
import type { AllowList } from "./allow-list.ts";
import { callbackHeaders, passedOnHeaders } from "./callback-headers.ts";
import { checkDestination, type Resolve } from "./check-destination.ts";
import type { HostGate } from "./host-gate.ts";
import { hostAndPort } from "./own-functions.ts";
import { type CallbackAnswer, type CallbackPost, postCallback } from "./post-callback.ts";
import { type BodyReader, toldResponse } from "./response-body.ts";
import { signWebhook } from "./sign-webhook.ts";
import type { TellResult } from "./tell-result.ts";

/** What telling URLs needs. */
export interface UrlTeller {
  readonly gate: HostGate;
  readonly allow: AllowList;
  readonly resolve: Resolve;
  readonly reader: BodyReader;
  /** Of the signature. */
  readonly key: Uint8Array;
  readonly timeoutMs: number;
  /** Attempts after the first that a function's calls may have; undefined: the function is gone. */
  readonly retriesMax: (outcome: Outcome) => number | undefined;
  /** Aborted when this process stops. */
  readonly stopping: AbortSignal;
}

const notTold = (url: string, why: string, cause?: unknown): BuskerError =>
  new BuskerError("outcome_not_told", `${url} was not told: ${why}`, { cause });

/** What an answer means. 410 says that the receiver is gone for good (Standard Webhooks). */
const judge = (url: string, { status, location, retryAfter }: CallbackAnswer): TellResult => {
  if (status >= 200 && status < 300) return { kind: "told", status };
  if (status === 410)
    return { kind: "final", error: notTold(url, "it answered 410, and is told nothing more"), status };
  const moved = status >= 300 && status < 400 ? `, a redirect to ${location ?? "nowhere"}, which is not followed` : "";
  const retryAfterMs = retryAfter === undefined ? undefined : readRetryAfterMs(retryAfter.trim(), Date.now());
  return { kind: "failed", error: notTold(url, `it answered ${status}${moved}`), retryAfterMs, status };
};

/** Rejects when the signal aborts before the work is done. */
const unlessAborted = <T>(work: Promise<T>, signal: AbortSignal): Promise<T> =>
  new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason as Error);
    if (signal.aborted) return abort();
    signal.addEventListener("abort", abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });

const createPost = async (
  teller: UrlTeller,
  outcome: Outcome,
  url: string,
  signal: AbortSignal,
): Promise<CallbackPost> => {
  const destination = await unlessAborted(checkDestination(url, teller.allow, teller.resolve), signal);
  const { record } = outcome.whole;
  const { head, body } = toldResponse(outcome.whole, teller.reader);
  const id = outcomeKey(record.id, outcome.target);
  const timestamp = Math.floor(Date.now() / 1000);
  const signature = await signWebhook(teller.key, { id, timestamp, body: body.open() });
  const headers = [
    ...passedOnHeaders(head),
    ...callbackHeaders(record, head.status, teller.retriesMax(outcome)),
    "User-Agent",
    `busker-queue-worker/${release}`,
    "webhook-id",
    id,
    "webhook-timestamp",
    String(timestamp),
    "webhook-signature",
    signature,
  ];
  return { destination, headers, body, signal };
};

const failureOf = (url: string, cause: unknown, timeout: AbortSignal, { timeoutMs }: UrlTeller): TellResult => {
  if (cause instanceof BuskerError) {
    const isFinal = cause.code === "destination_refused" || cause.code === "stream_gone" || cause.code === "not_found";
    // Our own bus, and not the receiver: it does not count.
    if (cause.code === "bus_unavailable") return { kind: "later", delayMs: 1000 };
    return { kind: isFinal ? "final" : "failed", error: cause };
  }
  const why = timeout.aborted ? `it did not answer within ${timeoutMs} ms` : describeError(cause);
  return { kind: "failed", error: notTold(url, why, cause) };
};

const tryOnce = async (teller: UrlTeller, outcome: Outcome, url: string): Promise<TellResult> => {
  const timeout = AbortSignal.timeout(teller.timeoutMs);
  try {
    const signal = AbortSignal.any([timeout, teller.stopping]);
    return judge(url, await postCallback(await createPost(teller, outcome, url, signal)));
  } catch (cause) {
    if (teller.stopping.aborted) return { kind: "later", delayMs: 0 };
    return failureOf(url, cause, timeout, teller);
  }
};

const hasAnswered = (result: TellResult): boolean =>
  result.kind === "told" || result.kind === "final" || (result.kind === "failed" && result.error.cause === undefined);

/** Tells a URL the outcome of a call, in one POST, when its host has a place for it. Never rejects. */
export const tellUrl = async (teller: UrlTeller, outcome: TakenOutcome, url: string): Promise<TellResult> => {
  const host = URL.canParse(url) ? hostAndPort(new URL(url)) : url;
  const entry = await teller.gate.enter(host, outcome.whole.response.length, outcome.deliveries);
  if (entry.kind === "later") return entry;
  if (teller.stopping.aborted) {
    entry.place.leave(true);
    return { kind: "later", delayMs: 0 };
  }
  const result = await tryOnce(teller, outcome, url);
  entry.place.leave(hasAnswered(result));
  return result;
};
