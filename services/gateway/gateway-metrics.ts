import { countOf } from "../../schemas/histogram.ts";
import { addFamily, Registry } from "../runtime/metrics.ts";
import { addProcessMetrics } from "../runtime/process-metrics.ts";
import { countReconnects, type Reconnecting } from "../runtime/reconnects.ts";
import type { ApiRequests } from "./api-requests.ts";
import { addFunctionMetrics, eachFunction, type FunctionMetricsParts, watchdogLines } from "./function-metrics.ts";
import type { Totals } from "./totals/totals.ts";

/** What a gateway's metrics are made of. */
export interface GatewayMetricsParts extends FunctionMetricsParts {
  readonly totals: FunctionMetricsParts["totals"] & Pick<Totals, "dropped">;
  readonly api: ApiRequests;
  readonly bus: Reconnecting;
}

/**
 * The `http_…` metrics have the names that both gateway and watchdogs have in OpenFaaS, each with its own labels: by
 * `function_name` they are the functions', by `path` this gateway's.
 */
const addHttpMetrics = (registry: Registry, { directory, totals, api }: GatewayMetricsParts): void => {
  const ofFunction = (entry: Parameters<Parameters<typeof eachFunction>[1]>[0]) => totals.of(entry.function);
  const requests = eachFunction(directory, ofFunction, watchdogLines.requests);
  const durations = eachFunction(directory, ofFunction, watchdogLines.durations);
  addFamily(registry, {
    name: "http_requests_total",
    help: "Calls that replicas have answered; requests to the platform's API",
    type: "counter",
    collect: () =>
      totals.complete.then(() => [
        ...requests(),
        ...api.lines().map(({ labels, value }) => ({ labels, value: countOf(value) })),
      ]),
  });
  addFamily(registry, {
    name: "http_request_duration_seconds",
    help: "Time that replicas took for calls; that requests to the platform's API took",
    type: "histogram",
    collect: () => totals.complete.then(() => [...durations(), ...api.lines()]),
  });
};

/** Creates the gateway's metrics in a registry of their own. */
export const createGatewayMetrics = (parts: GatewayMetricsParts): Registry => {
  const registry = new Registry();
  addProcessMetrics(registry);
  addFunctionMetrics(registry, parts);
  addHttpMetrics(registry, parts);
  countReconnects(registry, "gateway_nats_reconnect_total", parts.bus);
  addFamily(registry, {
    name: "busker_samples_dropped_total",
    help: "Samples that this gateway has not counted: repeats, and what was no sample",
    type: "counter",
    collect: () => {
      const { repeated, invalid } = parts.totals.dropped();
      return [
        { labels: { reason: "repeated" }, value: repeated },
        { labels: { reason: "invalid" }, value: invalid },
      ];
    },
  });
  return registry;
};
