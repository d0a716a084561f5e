import type { FunctionName } from "../../schemas/names.ts";
import { formatFunctionName } from "../../schemas/names.ts";
import { Counter, Gauge, Histogram, Registry } from "../runtime/metrics.ts";
import type { CallCounts } from "../bus/invoker.ts";
import type { Directory } from "./directory.ts";

/** Counts calls under OpenFaaS's names and labels (contract §2.1). */
export interface GatewayMetrics {
  readonly registry: Registry;
  readonly started: (name: FunctionName) => void;
  readonly finished: (name: FunctionName, status: number, seconds: number) => void;
  /** Calls finished since this gateway started. */
  readonly invocations: (name: FunctionName) => number;
  /** Drops a removed function's series. */
  readonly forget: (name: FunctionName) => void;
  /** Adds the gauges that are read when somebody scrapes. */
  readonly observe: (
    directory: Directory,
    counts: (name: FunctionName) => CallCounts,
    readers: (name: FunctionName) => number,
  ) => void;
}

interface Series {
  readonly label: string;
  readonly started: Counter.Internal;
  /** By status: looking labels up costs more than counting. */
  readonly byCode: Map<
    number,
    { readonly count: Counter.Internal; readonly seconds: Histogram.Internal<"function_name" | "code"> }
  >;
  invocations: number;
}

/** Creates the gateway's metrics in a registry of their own. */
export const createGatewayMetrics = (): GatewayMetrics => {
  const registry = new Registry();
  const registers = [registry];
  const seconds = new Histogram({
    name: "gateway_functions_seconds",
    help: "Time from the arrival of a call to the end of its answer",
    labelNames: ["function_name", "code"] as const,
    registers,
  });
  const total = new Counter({
    name: "gateway_function_invocation_total",
    help: "Calls finished",
    labelNames: ["function_name", "code"] as const,
    registers,
  });
  const begun = new Counter({
    name: "gateway_function_invocation_started",
    help: "Calls begun",
    labelNames: ["function_name"] as const,
    registers,
  });
  const series = new Map<string, Series>();
  const seriesOf = (name: FunctionName): Series => {
    const label = formatFunctionName(name);
    const known = series.get(label);
    if (known) return known;
    const made: Series = { label, started: begun.labels(label), byCode: new Map(), invocations: 0 };
    series.set(label, made);
    return made;
  };
  const codesOf = (of: Series, status: number) => {
    const known = of.byCode.get(status);
    if (known) return known;
    const code = String(status);
    const made = { count: total.labels(of.label, code), seconds: seconds.labels(of.label, code) };
    of.byCode.set(status, made);
    return made;
  };
  return {
    registry,
    started: (name) => seriesOf(name).started.inc(),
    finished: (name, status, duration) => {
      const of = seriesOf(name);
      const code = codesOf(of, status);
      of.invocations += 1;
      code.count.inc();
      code.seconds.observe(duration);
    },
    invocations: (name) => series.get(formatFunctionName(name))?.invocations ?? 0,
    forget: (name) => {
      const label = formatFunctionName(name);
      const of = series.get(label);
      if (!of) return;
      begun.remove(label);
      for (const status of of.byCode.keys()) {
        total.remove(label, String(status));
        seconds.remove(label, String(status));
      }
      series.delete(label);
    },
    observe: (...sources) => addGauges(registry, ...sources),
  };
};

const addGauges = (
  registry: Registry,
  ...[directory, counts, readers]: Parameters<GatewayMetrics["observe"]>
): void => {
  const perFunction = (name: string, help: string, value: (of: FunctionName, replicas: number) => number): Gauge =>
    new Gauge({
      name,
      help,
      labelNames: ["function_name"],
      registers: [registry],
      collect() {
        this.reset();
        for (const entry of directory.all())
          this.set({ function_name: formatFunctionName(entry.function) }, value(entry.function, entry.record.replicas));
      },
    });
  perFunction("gateway_service_count", "Replicas wished for", (_, replicas) => replicas);
  perFunction("gateway_service_ready_count", "Replicas that are ready", (of) => {
    const states = directory.status(of)?.replicas ?? [];
    return states.filter((replica) => replica.state === "ready").length;
  });
  perFunction("gateway_function_invocation_inflight", "Calls in replicas or in line", (of) => {
    const { inFlight, waiting } = counts(of);
    return inFlight + waiting;
  });
  perFunction(
    "gateway_function_invocation_waiting",
    "Calls that wait in line for a free slot",
    (of) => counts(of).waiting,
  );
  perFunction("gateway_function_stream_readers", "Clients that read kept event streams", readers);
};
