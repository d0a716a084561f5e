import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import Router from "@koa/router";
import { expect } from "chai";
import type { FunctionSpec } from "../../schemas/function.ts";
import { serveMetrics } from "../runtime/metrics.ts";
import { createApiRequests } from "./api-requests.ts";
import { createApp } from "./app.ts";
import type { FunctionEntry } from "./directory.ts";
import { createGatewayMetrics, type GatewayMetricsParts } from "./gateway-metrics.ts";
import { emptyTotals, type FunctionTotals } from "./totals/function-totals.ts";

const name = { namespace: "openfaas-fn", name: "f" };
const spec: FunctionSpec = {
  ...name,
  image: "i",
  labels: {
    "com.openfaas.scale.type": "rps,capacity",
    "com.openfaas.scale.target": "7",
    "com.openfaas.scale.min": "2",
  },
};
const entry = { function: name, record: { spec, replicas: 3, revision: "r", createdAt: "", updatedAt: "" } };

const totals: FunctionTotals = {
  ...emptyTotals(),
  started: 12,
  answered: { "200": { counts: [1, 0, 2], sum: 0.5 }, "500": { counts: [], sum: 0 } },
  submitted: 3,
  processed: 4,
  finished: { "200": 9 },
  durations: { counts: [9], sum: 0.25 },
  waits: { counts: [9], sum: 0.01 },
  cpuSeconds: 1.5,
};
const live = {
  waiting: 2,
  inFlight: 3,
  inFlightOfQueue: 1,
  inReplicas: 3,
  memoryBytes: 4096,
  queue: { depth: 5, oldestMs: 250 },
};

const partsOf = (more: Partial<GatewayMetricsParts["totals"]> = {}, entries: readonly unknown[] = [entry]) => ({
  directory: {
    all: () => entries as readonly FunctionEntry[],
    status: () => ({ replicas: [{ id: "f-1", state: "ready", revision: "r", since: "" }] as const }),
  },
  totals: {
    of: () => totals,
    live: () => live,
    complete: Promise.resolve(),
    dropped: () => ({ repeated: 1, invalid: 2 }),
    ...more,
  },
  readers: () => 6,
  api: createApiRequests(),
  bus: { onChange: () => {} },
});

const scrape = async (parts: GatewayMetricsParts): Promise<string> => {
  const server = await serveMetrics(createGatewayMetrics(parts), "127.0.0.1", 0);
  try {
    return await (await fetch(`http://127.0.0.1:${server.port}/metrics`)).text();
  } finally {
    await server.stop();
  }
};

describe("createGatewayMetrics()", () => {
  it("tells what was counted under OpenFaaS' names and labels", async () => {
    const lines = (await scrape(partsOf())).split("\n");
    const of = `function_name="f.openfaas-fn"`;
    expect(lines).to.include.members([
      `gateway_function_invocation_started{${of}} 12`,
      `gateway_function_invocation_total{${of},code="200"} 3`,
      `gateway_function_invocation_total{${of},code="500"} 0`,
      `gateway_functions_seconds_bucket{le="0.001",${of},code="200"} 1`,
      `gateway_functions_seconds_bucket{le="0.0025",${of},code="200"} 1`,
      `gateway_functions_seconds_bucket{le="0.005",${of},code="200"} 3`,
      `gateway_functions_seconds_bucket{le="+Inf",${of},code="200"} 3`,
      `gateway_functions_seconds_sum{${of},code="200"} 0.5`,
      `gateway_functions_seconds_count{${of},code="200"} 3`,
      `gateway_function_invocation_inflight{${of}} 5`,
      `gateway_function_invocation_waiting{${of}} 2`,
      `gateway_service_count{${of}} 3`,
      `gateway_service_ready_count{${of}} 1`,
      `gateway_service_min{${of}} 2`,
      `gateway_service_target{${of},scaling_type="rps"} 7`,
      `gateway_service_target_load{${of},scaling_type="capacity"} 7`,
      `gateway_function_stream_readers{${of}} 6`,
      `pod_cpu_usage_seconds_total{${of},namespace="openfaas-fn"} 1.5`,
      `pod_memory_working_set_bytes{${of},namespace="openfaas-fn"} 4096`,
      `http_requests_total{${of},code="200"} 9`,
      `http_request_duration_seconds_sum{${of}} 0.25`,
      `http_requests_in_flight{${of}} 3`,
      `busker_function_wait_seconds_count{${of}} 9`,
      `queue_worker_pending_messages{${of},queue_name="faas-request"} 5`,
      `queue_worker_messages_submitted_total{${of},queue_name="faas-request"} 3`,
      `queue_worker_messages_processed_total{${of},queue_name="faas-request"} 4`,
      `queue_worker_function_invocation_inflight{${of},queue_name="faas-request"} 1`,
      `busker_queue_oldest_seconds{${of},queue_name="faas-request"} 0.25`,
      `busker_samples_dropped_total{reason="invalid"} 2`,
      "# TYPE gateway_functions_seconds histogram",
      "# TYPE gateway_function_invocation_total counter",
    ]);
  });

  it("has no series of a function that is gone", async () =>
    expect(await scrape(partsOf({}, []))).to.not.include("function_name"));

  it("has no histogram and nothing of a queue of a function that nobody calls", async () => {
    const text = await scrape(
      partsOf({ of: emptyTotals, live: () => ({ ...live, queue: undefined, inFlightOfQueue: 0 }) }),
    );
    expect(text).to.include('gateway_function_invocation_started{function_name="f.openfaas-fn"} 0');
    expect(text).to.not.match(/^(busker_function_wait|http_request_duration|gateway_functions|queue_worker)\S*\{/m);
  });

  it("answers when everything is counted, because a lower counter would look like a new one", async () => {
    let current = emptyTotals();
    const parts = partsOf({ of: () => current });
    // Completed by the first who asks for it.
    Object.defineProperty(parts.totals, "complete", {
      get: () => {
        current = totals;
        return Promise.resolve();
      },
    });
    const text = await scrape(parts);
    expect(text).to.include('gateway_function_invocation_started{function_name="f.openfaas-fn"} 12');
  });

  it("counts requests to the API by the route's path, so that made-up names and paths make no series", async () => {
    const api = createApiRequests();
    const route = new Router().get("/system/function/:name", (context) => {
      context.body = "";
    });
    const app = createServer(createApp(() => true, [route], api.answered).callback());
    await new Promise<void>((resolve) => {
      app.listen(0, "127.0.0.1", resolve);
    });
    const { port } = app.address() as AddressInfo;
    for (const path of ["system/function/a", "system/function/b?x", "nowhere/1", "nowhere/2"])
      await (await fetch(`http://127.0.0.1:${port}/${path}`)).text();
    app.close();
    const text = await scrape({ ...partsOf({}, []), api });
    expect(text.split("\n").filter((line) => line.startsWith("http_requests_total"))).to.have.members([
      'http_requests_total{method="GET",path="/system/function/:name",status="200"} 2',
      'http_requests_total{method="GET",path="other",status="404"} 2',
    ]);
  });
});
