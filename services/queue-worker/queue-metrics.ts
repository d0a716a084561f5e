import type { CallRecord } from "../../schemas/call.ts";
import { type FunctionName, formatFunctionName } from "../../schemas/names.ts";
import { Counter, Gauge, Histogram, Registry } from "../runtime/metrics.ts";
import { addProcessMetrics } from "../runtime/process-metrics.ts";
import type { CallCounter } from "./call-run.ts";
import type { RunDelivery } from "./delivery.ts";
import { type TellCount, tellCounts } from "./outcomes/settle-outcome.ts";
import type { Decision } from "./retry-decision.ts";

/** How many calls of a function wait. */
export interface QueueDepth {
  readonly messages: number;
  /** Those of them that are not put off. */
  readonly due: number;
  /** When the oldest of them was accepted, milliseconds since the epoch; absent where it is not known. */
  readonly oldestMs?: number | undefined;
}

/** Counts what this queue-worker does, by function. */
export interface QueueMetrics extends CallCounter {
  readonly registry: Registry;
  /** Adds the gauges that are read when somebody scrapes. */
  readonly observe: (depths: () => ReadonlyMap<string, QueueDepth>) => void;
  /** The same, and counted while it has a call in hand. */
  readonly counted: (run: RunDelivery) => RunDelivery;
  /** Counts a try to tell an outcome of a function's call, by how it ended. */
  readonly told: (name: FunctionName, result: TellCount) => void;
  /** Drops a removed function's series. */
  readonly forget: (name: FunctionName) => void;
}

const labelNames = ["function_name"] as const;
// From a call that is begun at once to one that has waited for an hour.
const waitBuckets = [0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5, 15, 60, 300, 900, 3600];

/**
 * Creates a queue-worker's metrics in a registry of their own. What is still to be done for a function that is not known any more is not
 * counted: its series would never go.
 */
export const createQueueMetrics = (isKnown: (name: FunctionName) => boolean): QueueMetrics => {
  const registry = new Registry();
  addProcessMetrics(registry);
  const inFlight = new Map<string, number>();
  const registers = [registry];
  const waits = new Histogram({
    name: "busker_queue_wait_seconds",
    help: "Time from when a call was due to when a replica got it",
    labelNames,
    registers,
    buckets: waitBuckets,
  });
  const counter = (name: string, help: string): Counter<"function_name"> =>
    new Counter({ name, help, labelNames, registers });
  const attempts = counter("busker_queue_attempts_total", "Attempts that have ended");
  const retries = counter("busker_queue_retries_total", "Attempts after which the call is tried again");
  const ended: Readonly<Partial<Record<CallRecord["state"], Counter<"function_name">>>> = {
    succeeded: counter("busker_queue_succeeded_total", "Calls that ended with an answer of the function"),
    dead: counter("busker_queue_dead_total", "Calls that were given up"),
    cancelled: counter("busker_queue_cancelled_total", "Calls that were cancelled"),
  };
  const tries = new Counter({
    name: "busker_queue_outcomes_total",
    help: "Tries to tell outcomes (callbacks, on-success, on-failure), by how they ended",
    labelNames: [...labelNames, "result"] as const,
    registers,
  });
  const ifKnown = (name: FunctionName, act: (labels: { readonly function_name: string }) => void): void => {
    if (isKnown(name)) act({ function_name: formatFunctionName(name) });
  };
  return {
    registry,
    told: (name, result) => ifKnown(name, (labels) => tries.inc({ ...labels, result })),
    bound: (name, waitedMs) => ifKnown(name, (labels) => waits.observe(labels, waitedMs / 1000)),
    attempted: (name, decision: Decision["kind"]) =>
      ifKnown(name, (labels) => {
        attempts.inc(labels);
        if (decision === "retry") retries.inc(labels);
      }),
    ended: (name, state) => ifKnown(name, (labels) => ended[state]?.inc(labels)),
    counted: (run) => async (delivery, signal) => {
      const label = formatFunctionName(delivery.call.function);
      inFlight.set(label, (inFlight.get(label) ?? 0) + 1);
      try {
        return await run(delivery, signal);
      } finally {
        const left = (inFlight.get(label) ?? 1) - 1;
        if (left > 0) inFlight.set(label, left);
        else inFlight.delete(label);
      }
    },
    observe: (depths) => {
      gauge(registry, "busker_queue_depth", "Calls that were accepted and are not over", () =>
        mapValues(depths(), ({ messages }) => messages),
      );
      gauge(registry, "busker_queue_oldest_seconds", "Age of the oldest call that is not over", () => {
        const nowMs = Date.now();
        return mapValues(depths(), ({ oldestMs }) => (oldestMs === undefined ? undefined : (nowMs - oldestMs) / 1000));
      });
      gauge(registry, "busker_queue_in_flight", "Calls that this queue-worker has in hand", () => inFlight);
    },
    forget: (name) => {
      const label = formatFunctionName(name);
      for (const metric of [waits, attempts, retries, ...Object.values(ended)]) metric.remove(label);
      for (const result of tellCounts) tries.remove({ function_name: label, result });
    },
  };
};

const mapValues = <T>(map: ReadonlyMap<string, T>, value: (of: T) => number | undefined): Map<string, number> =>
  new Map(
    [...map].flatMap(([key, of]) => {
      const number = value(of);
      return number === undefined ? [] : [[key, number] as const];
    }),
  );

const gauge = (registry: Registry, name: string, help: string, values: () => ReadonlyMap<string, number>): Gauge =>
  new Gauge({
    name,
    help,
    labelNames,
    registers: [registry],
    collect() {
      this.reset();
      for (const [label, value] of values()) this.set({ function_name: label }, value);
    },
  });
