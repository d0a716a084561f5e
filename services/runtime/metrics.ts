import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import { Counter, Gauge, Histogram as HistogramMetric, type Metric, Registry } from "prom-client";
import { type Histogram, timeBounds } from "../../schemas/histogram.ts";
import { describeError } from "./log.ts";

export { Counter, Gauge, Registry };

/** One line of a family: a number, or a histogram of times. */
export interface Line {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number | Histogram;
}

/** A family of numbers that are counted elsewhere, and asked for when somebody scrapes. */
export interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly collect: () => Iterable<Line> | Promise<Iterable<Line>>;
}

type Value = { readonly labels: Readonly<Record<string, string>>; readonly value: number; readonly metricName: string };

const valuesOf = function* (name: string, { labels, value }: Line): Generator<Value> {
  if (typeof value === "number") return yield { labels, value, metricName: name };
  let count = 0;
  for (const [at, bound] of timeBounds.entries()) {
    count += value.counts[at] ?? 0;
    yield { labels: { ...labels, le: String(bound) }, value: count, metricName: `${name}_bucket` };
  }
  count += value.counts[timeBounds.length] ?? 0;
  yield { labels: { ...labels, le: "+Inf" }, value: count, metricName: `${name}_bucket` };
  yield { labels, value: value.sum, metricName: `${name}_sum` };
  yield { labels, value: count, metricName: `${name}_count` };
};

const kinds = { counter: Counter, gauge: Gauge, histogram: HistogramMetric };

/**
 * Adds a family to a registry. prom-client counts by itself and takes no histograms from elsewhere, so that the metric is
 * one of its own whose answer is replaced.
 */
export const addFamily = (registry: Registry, { name, help, type, collect }: Family): void => {
  const metric = new kinds[type]({ name, help, registers: [] });
  const get = async () => {
    const values = [...(await collect())].flatMap((line) => [...valuesOf(name, line)]);
    return { name, help, type, values, aggregator: "sum" as const };
  };
  registry.registerMetric(Object.assign(metric, { get, getForPromString: get }) as unknown as Metric);
};

/** A registry as text, family by family: that of a thousand functions is long, and others have work meanwhile. */
const renderText = async (registry: Registry): Promise<string> => {
  const parts: string[] = [];
  for (const { name } of registry.getMetricsAsArray()) {
    parts.push(await registry.getSingleMetricAsString(name));
    await nextTurn();
  }
  return `${parts.join("\n\n")}\n`;
};

/** An HTTP server with `GET /metrics` (Prometheus text) and `GET /healthz` (`OK`), and the port it listens on. */
export interface MetricsServer {
  readonly port: number;
  readonly stop: () => Promise<void>;
}

const answer = async (
  registry: Registry,
  method: string | undefined,
  url: string | undefined,
): Promise<{ status: number; type: string; body: string }> => {
  const path = url?.split("?")[0];
  if (path !== "/metrics" && path !== "/healthz") return { status: 404, type: "text/plain", body: "not found\n" };
  if (method !== "GET") return { status: 405, type: "text/plain", body: "method not allowed\n" };
  if (path === "/healthz") return { status: 200, type: "text/plain", body: "OK" };
  return { status: 200, type: registry.contentType, body: await renderText(registry) };
};

/** Serves a registry on `host:port` (0: any free port); rejects when the port cannot be had. */
export const serveMetrics = async (registry: Registry, host: string, port: number): Promise<MetricsServer> => {
  const server: Server = createServer((request, response) => {
    void answer(registry, request.method, request.url)
      .catch((error: unknown) => ({ status: 500, type: "text/plain", body: `${describeError(error)}\n` }))
      .then(({ status, type, body }) => response.writeHead(status, { "content-type": type }).end(body));
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(port, host, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
};
