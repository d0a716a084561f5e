import { interval } from "rxjs";
import { BuskerError } from "../../schemas/errors.ts";
import type { FunctionRecord } from "../../schemas/function.ts";
import { formatFunctionName } from "../../schemas/names.ts";
import type { ScaleExplanation } from "../../schemas/scaler.ts";
import { explainAnyFilter, functionSubject, parseFunctionSubject, scalerQueueGroup } from "../../schemas/subjects.ts";
import { answerQuestions } from "../bus/ask.ts";
import type { Bus } from "../bus/connection.ts";
import { holdLease } from "../bus/lease.ts";
import { publishDurably } from "../bus/streams.ts";
import { describeError, type Log } from "../runtime/log.ts";
import { Decisions } from "./decisions.ts";
import { reasonOf } from "./explanation.ts";
import type { Assessment } from "./follower.ts";
import { createLoadLog, writeLoad } from "./load-log.ts";
import { createNewsSource } from "./news.ts";
import { assessFunctions } from "./pipeline.ts";
import type { ScalerMetrics } from "./scaler-metrics.ts";

/** A scaler that follows all functions, and carries out what it decides while it is the one that does. */
export interface Scaler {
  readonly stop: () => Promise<void>;
}

/** What a scaler is made of. */
export interface ScalerParts {
  readonly bus: Bus;
  readonly metrics: ScalerMetrics;
  readonly log: Log;
  /** The time of day, milliseconds since the epoch; absent: this machine's. */
  readonly wall?: () => number;
}

const tickMs = 1000;

const untilAborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });

const publishWish = async (
  { bus, log }: ScalerParts,
  { spec: { namespace, name } }: FunctionRecord,
  assessment: Assessment,
): Promise<void> => {
  const { replicas, wished: from } = assessment;
  const reason = reasonOf(assessment);
  log.info("scale", { function: formatFunctionName({ namespace, name }), from, replicas, reason });
  await publishDurably(bus, {
    subject: functionSubject("scale", namespace, name),
    type: "io.busker.function.scale",
    data: { replicas, from, reason },
  });
};

const answer = (bus: Bus, decisions: Decisions): (() => void) =>
  answerQuestions<"io.busker.scaler.explain", ScaleExplanation>(
    bus,
    { filter: explainAnyFilter, queue: scalerQueueGroup },
    async ({ subject }) => {
      const name = parseFunctionSubject(subject, 2);
      if (!name) throw new BuskerError("invalid_request", `${subject} names no function`);
      return decisions.explain(formatFunctionName(name));
    },
  );

/**
 * Starts a scaler. Any number may run: all follow the load, and the one that holds the lease acts,
 * so that whoever takes over knows as much as it did.
 */
export const openScaler = async (parts: ScalerParts): Promise<Scaler> => {
  const { bus, metrics, log, wall = Date.now } = parts;
  const decisions = new Decisions((record, assessment) => {
    metrics.wished(assessment.rule);
    publishWish(parts, record, assessment).catch((error: unknown) =>
      log.warn("could not wish for another count", {
        function: formatFunctionName(record.spec),
        error: describeError(error),
      }),
    );
  });
  const lease = await holdLease(bus, {
    role: "scaler",
    work: async (signal) => {
      log.info("active: this scaler decides from now on");
      const stop = answer(bus, decisions);
      await untilAborted(signal);
      stop();
      log.info("no longer active");
    },
  });
  const isActive = (): boolean => lease.isHeld() && bus.isConnected();
  metrics.observe(isActive, () => decisions.size);
  const loads = createLoadLog(writeLoad(bus), log);
  const source = createNewsSource(bus, { counts: metrics.samples, onMinute: loads.seen, log });
  const removals = source.news.subscribe((news) => {
    if (news.kind === "removed") decisions.forget(news.key);
  });
  const clock = { now: () => performance.now(), wall, ticks: interval(tickMs) };
  const assessed = assessFunctions(source.news, clock).subscribe((one) => {
    decisions.take(one, isActive());
    if (one.assessment.ended) loads.take(one.record.spec, one.assessment.ended);
  });
  const writing = interval(tickMs).subscribe(() => void loads.flush(isActive()));
  await source.start();
  return {
    stop: async () => {
      source.stop();
      assessed.unsubscribe();
      writing.unsubscribe();
      removals.unsubscribe();
      await lease.stop();
    },
  };
};
