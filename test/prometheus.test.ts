import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect } from "chai";
import type { ScaleExplanation } from "../schemas/scaler.ts";
import { type Dashboard, queriesWithoutData, readDashboards } from "./support/dashboards.ts";
import { eventually, startTestPlatform, type TestPlatform } from "./support/platform.ts";
import { ask, checkInfra, startTestWatchers, type TestWatchers } from "./support/watchers.ts";

/*
 * Prometheus and Alertmanager from Debian watch a platform under load, with the configurations of infra/ (issue 6, items
 * 5 to 7).
 */

const infra = resolve(import.meta.dirname, "../infra");
const code = {
  "h.mjs": `export default async (event) => {
    await new Promise((resolve) => setTimeout(resolve, Number(event.query?.ms ?? 0)));
    return { status: Number(event.query?.status ?? 200), body: "fine" };
  };`,
};
const envVars = { mode: "handler", handler: "h.mjs" };

/** Does something again and again until it is told to stop. */
const keepDoing = (act: () => Promise<unknown>): (() => Promise<void>) => {
  let isOver = false;
  const loop = async (): Promise<void> => {
    while (!isOver) await act();
  };
  const done = loop();
  return () => {
    isOver = true;
    return done;
  };
};

// What OpenFaaS has and Busker too, with the labels besides `job` and `instance`.
const contract: readonly (readonly [string, readonly string[]])[] = [
  ["gateway_functions_seconds_bucket", ["code", "function_name", "le"]],
  ["gateway_function_invocation_total", ["code", "function_name"]],
  ["gateway_function_invocation_started", ["function_name"]],
  ["gateway_function_invocation_inflight", ["function_name"]],
  ["gateway_service_count", ["function_name"]],
  ["gateway_service_ready_count", ["function_name"]],
  ["gateway_service_min", ["function_name"]],
  ["gateway_service_target", ["function_name", "scaling_type"]],
  ["gateway_service_target_load", ["function_name", "scaling_type"]],
  ['http_requests_total{path!=""}', ["method", "path", "status"]],
  ['http_request_duration_seconds_bucket{path!=""}', ["le", "method", "path", "status"]],
  ["pod_cpu_usage_seconds_total", ["function_name", "namespace"]],
  ["pod_memory_working_set_bytes", ["function_name", "namespace"]],
  ['http_requests_total{function_name!=""}', ["code", "function_name"]],
  ['http_request_duration_seconds_bucket{function_name!=""}', ["function_name", "le"]],
  ["http_requests_in_flight", ["function_name"]],
  ["queue_worker_pending_messages", ["function_name", "queue_name"]],
  ["queue_worker_messages_submitted_total", ["function_name", "queue_name"]],
  ["queue_worker_messages_processed_total", ["function_name", "queue_name"]],
  ["queue_worker_function_invocation_inflight", ["function_name", "queue_name"]],
  ["gateway_nats_reconnect_total", []],
  ["queue_worker_nats_reconnect_total", []],
  ["job:function_current_load:sum", ["function_name", "scaling_type"]],
  ["job:function_current_started:max_sum", ["function_name"]],
];

describe("files for Prometheus, Alertmanager and Grafana", () => {
  it("are right by their own tools, and every alert fires when it should", async () => {
    await checkInfra("promtool", ["check", "config", "prometheus/prometheus.yml", "prometheus/local.yml"]);
    await checkInfra("amtool", ["check-config", "alertmanager/alertmanager.yml", "alertmanager/local.yml"]);
    expect(await checkInfra("promtool", ["test", "rules", "prometheus/alerts.test.yml"])).to.include("SUCCESS");
  });

  it("for `busker up` say the same as those for containers, but for addresses", () => {
    const read = (path: string): string => readFileSync(resolve(infra, path), "utf8").replace(/^#.*\n/, "");
    expect(read("alertmanager/local.yml")).to.equal(
      read("alertmanager/alertmanager.yml")
        .replace("http://gateway:", "http://127.0.0.1:")
        .replace("/run/busker/secrets", "../../data/secrets"),
    );
    const settled = (path: string): string =>
      read(path)
        .replaceAll(/^ *#.*\n/gm, "")
        .replaceAll(/targets: \["[^"]*:(\d+)"\]/g, "port $1")
        .replaceAll(/static_configs: \[\{ port (\d+) \}\]/g, "port $1")
        .replaceAll(/dns_sd_configs: \[\{ .*port: (\d+).*\]/g, "port $1");
    expect(settled("prometheus/local.yml")).to.equal(settled("prometheus/prometheus.yml"));
  });

  it("are dashboards whose panels have ids and places of their own, and one source of data", () => {
    const dashboards = readDashboards();
    expect([...dashboards.keys()].toSorted()).to.deep.equal([
      "function.json",
      "overview.json",
      "platform.json",
      "queues.json",
    ]);
    for (const [name, { uid, panels, templating }] of dashboards) {
      expect(uid).to.equal(`busker-${name.replace(".json", "")}`);
      expect(new Set(panels.map(({ id }) => id))).to.have.property("size", panels.length);
      expect(templating.list[0]).to.include({ name: "datasource" });
      const taken = new Set<string>();
      for (const { title, datasource, gridPos } of panels) {
        expect(datasource, title).to.deep.equal({ type: "prometheus", uid: "${datasource}" });
        expect(gridPos.x + gridPos.w, title).to.be.at.most(24);
        for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1)
          for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
            expect(taken.has(`${x} ${y}`), `${title} is on another panel`).to.equal(false);
            taken.add(`${x} ${y}`);
          }
      }
    }
  });
});

describe("Prometheus and Alertmanager", function () {
  this.timeout(180_000);
  let platform: TestPlatform;
  let watchers: TestWatchers;
  let stopTraffic: (() => Promise<void>) | undefined;

  const deploy = async (
    name: string,
    scale: Readonly<Record<string, string>> = {},
    annotations: Readonly<Record<string, string>> = {},
  ): Promise<void> => {
    const labels = Object.fromEntries(
      Object.entries(scale).map(([key, value]) => [`com.openfaas.scale.${key}`, value]),
    );
    const response = await platform.deploy({ name, code, envVars, more: { labels, annotations } });
    expect(response.status, await response.text()).to.equal(202);
  };
  const queue = (path: string, headers: Readonly<Record<string, string>> = {}): Promise<Response> =>
    fetch(`${platform.url}/async-function/${path}`, { method: "POST", headers });

  /** Something of everything that dashboards show. */
  const traffic = async (): Promise<void> => {
    await Promise.all([
      platform.invoke("steady?ms=50"),
      platform.invoke("steady?status=500"),
      queue("steady?ms=1500"),
      queue("tells"),
      queue("fails?status=500"),
      platform.api("GET", "/system/functions"),
      platform.api("GET", "/system/function/none"),
    ]);
    const later = await queue("steady", { "x-delay": "1h" });
    await platform.api("DELETE", `/async-function/${later.headers.get("x-call-id")}`);
  };
  const countOf = async (name: string): Promise<number> => Number((await platform.status(name))["availableReplicas"]);

  before(async () => {
    platform = await startTestPlatform();
    await deploy("steady", { type: "rps,capacity,cpu,queue", target: "1000", max: "2" });
    await deploy("tells", { max: "1" }, { "com.busker.on-success": "steady" });
    await deploy("fails", {}, { "com.openfaas.retry.attempts": "2", "com.openfaas.retry.min_wait": "1s" });
    await deploy("tide", { type: "alert", max: "3", factor: "50" });
    watchers = await startTestWatchers(platform);
    stopTraffic = keepDoing(traffic);
  });
  after(async () => {
    await stopTraffic?.();
    await watchers?.stop();
    expect(await platform?.stop()).to.equal(0);
  });

  it("reach every service", () =>
    eventually(
      "three jobs are up",
      async () => {
        const up = await ask(watchers.prometheus, "up == 1");
        return up.length === 3 ? up.map(({ metric }) => metric["job"]).toSorted() : undefined;
      },
      30_000,
    ).then((jobs) => expect(jobs).to.deep.equal(["gateway", "queue-worker", "scaler"])));

  for (const [selector, labels] of contract)
    it(`see ${selector} with the labels ${labels.join(", ")}`, async () => {
      const [first] = await eventually(
        selector,
        async () => {
          const series = await ask(watchers.prometheus, selector);
          return series.length > 0 ? series : undefined;
        },
        60_000,
      );
      const own = Object.keys(first?.metric ?? {}).filter((key) => !["__name__", "job", "instance"].includes(key));
      expect(own.toSorted()).to.deep.equal(labels);
    });

  it("give data for every query of every dashboard", async () => {
    const variables = { __rate_interval: "1m", function: "steady.openfaas-fn" };
    for (const dashboard of readDashboards().values())
      expect(await queriesWithoutData(watchers.prometheus, dashboard, variables, 60_000)).to.deep.equal([]);
  });

  it("give the functions that a dashboard lets one choose from", async () => {
    const [, variable] = readDashboards().get("function.json")?.templating.list ?? [];
    const [, metric = "", label = ""] = /^label_values\((\w+), (\w+)\)$/.exec(variable?.definition ?? "") ?? [];
    const found = await ask(watchers.prometheus, metric);
    expect(new Set(found.map((series) => series.metric[label]))).to.include("steady.openfaas-fn");
  });

  it("do not pass a query without data, nor one that is none", async () => {
    const dashboard = readDashboards().get("overview.json");
    const [panel] = dashboard?.panels ?? [];
    if (!dashboard || !panel) throw new Error("there is no dashboard");
    const expressions = ["gateway_services_count", "sum(rate(gateway_service_count)", "gateway_service_count"];
    const broken: Dashboard = { ...dashboard, panels: [{ ...panel, targets: expressions.map((expr) => ({ expr })) }] };
    const faults = await queriesWithoutData(watchers.prometheus, broken, {}, 0);
    expect(faults).to.have.length(2);
    expect(faults[0]).to.match(/, Functions: Error: gateway_services_count: not within/);
    expect(faults[1]).to.match(/, Functions: Error: sum\(.*: .*parse error/);
  });

  it("add replicas of a function that only alerts scale while it is called much, and take them back after", async () => {
    const firing = async (): Promise<readonly (string | undefined)[]> =>
      (await ask(watchers.prometheus, 'ALERTS{alertname="APIHighInvocationRate", alertstate="firing"}')).map(
        ({ metric }) => metric["function_name"],
      );
    expect(await countOf("tide")).to.equal(1);
    const clients = ["tide", "tide", "steady"].map((name) => keepDoing(() => platform.invoke(`${name}?ms=20`)));
    await eventually("tide has 3 replicas", async () => ((await countOf("tide")) === 3 ? true : undefined), 60_000);
    // The other one has as many calls, and a scaler that looks after it.
    expect(await firing()).to.deep.equal(["tide.openfaas-fn"]);
    const { latest } = (await (await platform.api("GET", "/system/scaler/tide")).json()) as ScaleExplanation;
    expect(latest?.rule).to.equal("alerts");
    await Promise.all(clients.map((stop) => stop()));
    await eventually("tide has 1 replica", async () => ((await countOf("tide")) === 1 ? true : undefined), 120_000);
    expect(await firing()).to.deep.equal([]);
  });
});
