import { Counter, Gauge, Registry } from "../runtime/metrics.ts";
import { addProcessMetrics } from "../runtime/process-metrics.ts";
import { type DecisionRule, decisionRules } from "./decide.ts";
import type { SampleCounts } from "./news.ts";

/** What is counted of a scaler. */
export interface ScalerMetrics {
  readonly registry: Registry;
  readonly samples: SampleCounts;
  /** A wish was made by this rule. */
  readonly wished: (rule: DecisionRule) => void;
  /** Adds the gauges that are read when somebody scrapes. */
  readonly observe: (isActive: () => boolean, functions: () => number) => void;
}

/** Creates a scaler's metrics in a registry of their own. */
export const createScalerMetrics = (): ScalerMetrics => {
  const registry = new Registry();
  addProcessMetrics(registry);
  const registers = [registry];
  const samples = new Counter({
    name: "busker_scaler_samples_total",
    help: "Samples taken, or passed over because they were none or of no function",
    labelNames: ["result"] as const,
    registers,
  });
  const wishes = new Counter({
    name: "busker_scaler_wishes_total",
    help: "Wishes for another count of replicas",
    labelNames: ["rule"] as const,
    registers,
  });
  const taken = samples.labels("taken");
  const passedOver = samples.labels("passed_over");
  for (const rule of Object.keys(decisionRules)) wishes.labels(rule).inc(0);
  const gauge = (name: string, help: string, value: () => number): Gauge =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(value());
      },
    });
  return {
    registry,
    samples: { taken: () => taken.inc(), passedOver: () => passedOver.inc() },
    wished: (rule) => wishes.labels(rule).inc(),
    observe: (isActive, functions) => {
      gauge("busker_scaler_active", "1 where this scaler decides, 0 where it stands by", () => Number(isActive()));
      gauge("busker_scaler_functions", "Functions that are followed", functions);
    },
  };
};
