import type { FunctionSpec } from "../../schemas/function.ts";
import { countOf, type Histogram } from "../../schemas/histogram.ts";
import { type FunctionName, formatFunctionName } from "../../schemas/names.ts";
import { readScaleRules } from "../../schemas/scale-labels.ts";
import { addFamily, type Family, type Line, type Registry } from "../runtime/metrics.ts";
import type { Directory, FunctionEntry } from "./directory.ts";
import type { FunctionTotals } from "./totals/function-totals.ts";
import type { LiveState } from "./totals/live-sources.ts";
import type { OpenTotals } from "./totals/open-totals.ts";

/** What a function's metrics are made of. */
export interface FunctionMetricsParts {
  readonly directory: Pick<Directory, "all" | "status">;
  readonly totals: Pick<OpenTotals, "of" | "live" | "complete">;
  /** Clients that read kept event streams here. */
  readonly readers: (name: FunctionName) => number;
}

type Description = Pick<Family, "name" | "help" | "type">;

const counter = (name: string, help: string): Description => ({ name, help, type: "counter" });
const gauge = (name: string, help: string): Description => ({ name, help, type: "gauge" });
const histogram = (name: string, help: string): Description => ({ name, help, type: "histogram" });

/** Lines of one function; their label `function_name` is added. */
type Lines<T> = (
  of: T,
  entry: FunctionEntry,
) => readonly (readonly [Line["value"], Readonly<Record<string, string>>?])[];

const byCode = <T extends Line["value"]>(counts: Readonly<Record<string, T>>) =>
  Object.entries(counts).map(([code, value]) => [value, { code }] as const);

// Eighteen lines, of which a function that nobody calls needs none.
const unlessEmpty = (of: Histogram): readonly (readonly [Histogram])[] => (of.counts.length > 0 ? [[of]] : []);

// OpenFaaS counts every function's durable calls in a queue of this name, unless somebody makes others.
const queue = { queue_name: "faas-request" };

const totalFamilies: readonly (readonly [Description, Lines<FunctionTotals>])[] = [
  [
    histogram("gateway_functions_seconds", "Time from the arrival of a call to the end of its answer"),
    ({ answered }) => byCode(answered),
  ],
  [
    counter("gateway_function_invocation_total", "Calls finished"),
    ({ answered }) => byCode(answered).map(([times, code]) => [countOf(times), code]),
  ],
  [counter("gateway_function_invocation_started", "Calls begun"), ({ started }) => [[started]]],
  [
    counter("queue_worker_messages_submitted_total", "Durable calls accepted"),
    ({ submitted }) => (submitted > 0 ? [[submitted, queue]] : []),
  ],
  [
    counter("queue_worker_messages_processed_total", "Attempts at durable calls that have ended"),
    ({ processed }) => (processed > 0 ? [[processed, queue]] : []),
  ],
  [
    histogram("busker_function_wait_seconds", "Time from a call's arrival in a replica until the function has it"),
    ({ waits }) => unlessEmpty(waits),
  ],
  [
    counter("pod_cpu_usage_seconds_total", "CPU of a function's replicas"),
    ({ cpuSeconds }, { function: { namespace } }) => [[cpuSeconds, { namespace }]],
  ],
];

const liveFamilies: readonly (readonly [Description, Lines<LiveState>])[] = [
  [
    gauge("gateway_function_invocation_inflight", "Calls in replicas or in line, at every caller"),
    ({ inFlight, waiting }) => [[inFlight + waiting]],
  ],
  [
    gauge("gateway_function_invocation_waiting", "Calls that wait in line for a free slot, at every caller"),
    ({ waiting }) => [[waiting]],
  ],
  [gauge("http_requests_in_flight", "Calls in replicas, as these see it"), ({ inReplicas }) => [[inReplicas]]],
  [
    gauge("pod_memory_working_set_bytes", "Resident memory of a function's replicas"),
    ({ memoryBytes }, { function: { namespace } }) => [[memoryBytes, { namespace }]],
  ],
  [
    gauge("queue_worker_pending_messages", "Durable calls that are not over"),
    ({ queue: of }) => (of ? [[of.depth, queue]] : []),
  ],
  [
    gauge("busker_queue_oldest_seconds", "How long the first of those has been due"),
    ({ queue: of }) => (of ? [[of.oldestMs / 1000, queue]] : []),
  ],
  [
    gauge("queue_worker_function_invocation_inflight", "Durable calls in replicas"),
    ({ queue: of, inFlightOfQueue }) => (of || inFlightOfQueue > 0 ? [[inFlightOfQueue, queue]] : []),
  ],
];

const targets = (spec: FunctionSpec) => {
  const { types, target } = readScaleRules(spec);
  return types.map((type) => [target, { scaling_type: type }] as const);
};

const wishFamilies: readonly (readonly [Description, Lines<FunctionSpec>])[] = [
  [gauge("gateway_service_count", "Replicas wished for"), (_, { record }) => [[record.replicas]]],
  [gauge("gateway_service_min", "Least replicas"), (spec) => [[readScaleRules(spec).min]]],
  // Named one way in OpenFaaS' documentation and another in its rules.
  [gauge("gateway_service_target", "Load that one replica is to have"), targets],
  [gauge("gateway_service_target_load", "Load that one replica is to have"), targets],
];

/** What a replica's own `http_…` metrics say in OpenFaaS, one number for all replicas of a function. */
export const watchdogLines = {
  requests: ({ finished }: FunctionTotals) => byCode(finished),
  durations: ({ durations }: FunctionTotals) => unlessEmpty(durations),
};

/** Gives the lines of every function; what `of` gives is asked for once a function. */
export const eachFunction =
  <T>(directory: Pick<Directory, "all">, of: (entry: FunctionEntry) => T, lines: Lines<T>) =>
  (): Line[] =>
    directory.all().flatMap((entry) => {
      const function_name = formatFunctionName(entry.function);
      return lines(of(entry), entry).map(([value, more]) => ({ labels: { function_name, ...more }, value }));
    });

/** Adds every function's metrics to a registry, under OpenFaaS' names and labels (contract §2). */
export const addFunctionMetrics = (registry: Registry, { directory, totals, readers }: FunctionMetricsParts): void => {
  const addAll = <T>(
    families: readonly (readonly [Description, Lines<T>])[],
    of: (entry: FunctionEntry) => T,
    isCounted: boolean,
  ): void => {
    for (const [description, lines] of families) {
      const collect = eachFunction(directory, of, lines);
      // Who scrapes before everything is counted waits: a counter that is lower than it was would count as a new one.
      addFamily(registry, { ...description, collect: () => (isCounted ? totals.complete.then(collect) : collect()) });
    }
  };
  addAll(totalFamilies, (entry) => totals.of(entry.function), true);
  addAll(liveFamilies, (entry) => totals.live(entry.function), true);
  addAll(wishFamilies, (entry) => entry.record.spec, false);
  addAll<FunctionName>(
    [
      [gauge("gateway_service_ready_count", "Replicas that are ready"), (name) => [[countReady(directory, name)]]],
      [gauge("gateway_function_stream_readers", "Clients that read kept event streams"), (name) => [[readers(name)]]],
    ],
    (entry) => entry.function,
    false,
  );
};

const countReady = (directory: Pick<Directory, "status">, name: FunctionName): number =>
  (directory.status(name)?.replicas ?? []).filter(({ state }) => state === "ready").length;
