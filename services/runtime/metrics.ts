import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import { describeError } from "./log.ts";
import { isFamilyMetric } from "./metric-family.ts";

export { Counter, Gauge, Histogram, Registry };
export { addFamily, type Family, type Line } from "./metric-family.ts";

/** A registry as text, part by part: that of a thousand functions is long, and others have work meanwhile. */
const renderText = async (registry: Registry): Promise<string> => {
  const families: string[] = [];
  for (const metric of registry.getMetricsAsArray()) {
    families.push(isFamilyMetric(metric) ? await metric.render() : await registry.getSingleMetricAsString(metric.name));
    await nextTurn();
  }
  return `${families.join("\n\n")}\n`;
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
