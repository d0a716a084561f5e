import { BuskerError } from "../../../schemas/errors.ts";
import type { FunctionName } from "../../../schemas/names.ts";
import type { AcknowledgedPublisher } from "../../bus/acknowledged.ts";
import { buryOutcome, outcomeKey, putOutcome, type TakenOutcome } from "../../bus/outcomes.ts";
import type { Disposition } from "../../bus/streams.ts";
import type { Log } from "../../runtime/log.ts";
import { nextTryMs } from "./next-try.ts";
import type { TellResult } from "./tell-result.ts";

/** How tries to tell outcomes may end, as they are counted. */
export const tellCounts = ["told", "retried", "dead", "refused"] as const;
export type TellCount = (typeof tellCounts)[number];

/** What settling outcomes needs. */
export interface SettleParts {
  readonly acknowledged: AcknowledgedPublisher;
  readonly source: string;
  /** Tries in all. */
  readonly attempts: number;
  readonly log: Log;
  readonly count: (name: FunctionName, result: TellCount) => void;
}

const done: Disposition = { kind: "done" };

/** Puts the outcome back into the stream under a new number, with one more try: what counts tries is on disk. */
const putBack = async (
  { acknowledged, source, count }: SettleParts,
  outcome: TakenOutcome,
  askedMs: number | undefined,
): Promise<Disposition> => {
  const { whole, target, seq } = outcome;
  const tries = outcome.tries + 1;
  const dueMs = Date.now() + nextTryMs(tries, askedMs, Math.random());
  // Named after the message it replaces: whoever repeats this after a crash makes no second one.
  await putOutcome(
    acknowledged,
    source,
    { whole, target, tries, dueMs },
    `${outcomeKey(whole.record.id, target)}.after.${seq}`,
  );
  count(whole.record.function, "retried");
  return done;
};

const bury = async (parts: SettleParts, outcome: TakenOutcome, error: BuskerError): Promise<Disposition> => {
  const { record } = outcome.whole;
  const letter = await buryOutcome(parts.acknowledged, parts.source, outcome, error);
  parts.count(record.function, error.code === "destination_refused" ? "refused" : "dead");
  parts.log.warn(`the outcome of call ${record.id} could not be told`, {
    callId: record.id,
    letter,
    target: outcome.target,
    tries: outcome.tries + 1,
    error: error.message,
  });
  return done;
};

const exhausted = (error: BuskerError, tries: number): BuskerError =>
  new BuskerError(error.code, `${error.message}; that was try ${tries}, the last`, { cause: error });

/**
 * What follows a try to tell an outcome: it leaves the stream when it was told, comes back when it is due again, or becomes a dead
 * letter. Rejects when that was not taken: then the try comes again.
 */
export const settleOutcome = async (
  parts: SettleParts,
  outcome: TakenOutcome,
  result: TellResult,
): Promise<Disposition> => {
  const tries = outcome.tries + 1;
  switch (result.kind) {
    case "told":
      parts.count(outcome.whole.record.function, "told");
      return done;
    case "later":
      return { kind: "retry", delayMs: result.delayMs };
    case "final":
      return bury(parts, outcome, result.error);
    case "failed":
      return tries >= parts.attempts
        ? bury(parts, outcome, exhausted(result.error, tries))
        : putBack(parts, outcome, result.retryAfterMs);
  }
};
