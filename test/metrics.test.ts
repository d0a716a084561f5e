import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import { startTestGateway, type TestGateway } from "./support/gateway.ts";
import { eventually, startTestPlatform, type TestPlatform } from "./support/platform.ts";

/*
 * What a gateway's metrics say, over the deaths of gateways and of the server (issue 6, items 1, 5 and 6).
 */

const code = {
  "h.mjs": `import { existsSync } from "node:fs";
  const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  export default async ({ query: { ms = 0, until } }) => {
    if (ms > 0) await wait(Number(ms));
    while (until && !existsSync(until)) await wait(10);
    return "fine";
  };`,
};
const handler = { mode: "handler", handler: "h.mjs" };

/** The value of every series of one function, as a scrape shows them. */
const scrape = async (metricsUrl: string, name: string): Promise<ReadonlyMap<string, number>> => {
  const text = await (await fetch(metricsUrl)).text();
  const lines = text.split("\n").filter((line) => line.includes(`function_name="${name}.openfaas-fn"`));
  return new Map(
    lines.map((line) => {
      const at = line.lastIndexOf(" ");
      return [line.slice(0, at).replace(/function_name="[^"]*",?/, ""), Number(line.slice(at + 1))];
    }),
  );
};

const invocations = 'gateway_function_invocation_total{code="200"}';
// Of memory and of what a replica has just said of itself, two gateways know the newest sample each.
const isTotal = (series: string): boolean =>
  /^(gateway_function|http_request|busker_function_wait|pod_cpu)/.test(series);

describe("the gateway's metrics", function () {
  this.timeout(60_000);
  let platform: TestPlatform;
  let second: TestGateway;

  const deploy = async (name: string, more: object = {}): Promise<void> => {
    const response = await platform.deploy({ name, code, envVars: handler, ...more });
    expect(response.status, await response.text()).to.equal(202);
  };
  const call = async (name: string, times: number, url = platform.url): Promise<void> => {
    for (let at = 0; at < times; at += 1) {
      const response = await fetch(`${url}/function/${name}`);
      expect([response.status, await response.text()]).to.deep.equal([200, "fine"]);
    }
  };
  const counted = (name: string, series: string, value: number, metricsUrl = platform.metricsUrl) =>
    eventually(`${series} of ${name} is ${value}`, async () => {
      const all = await scrape(metricsUrl, name).catch(() => undefined);
      return all?.get(series) === value ? all : undefined;
    });

  before(async () => {
    platform = await startTestPlatform();
    second = await startTestGateway(platform);
  });
  after(async () => {
    await second?.stop();
    expect(await platform.stop()).to.equal(0);
  });

  it("count calls once, as caller and replica see them, whichever gateway had them", async () => {
    await deploy("f");
    await call("f", 3);
    await eventually("the second gateway knows it", async () =>
      (await fetch(`${second.url}/function/f`)).ok ? true : undefined,
    );
    await call("f", 2, second.url);
    await counted("f", invocations, 6);
    const all = await counted("f", 'http_requests_total{code="200"}', 6);
    expect(all.get("gateway_function_invocation_started{}")).to.equal(6);
    expect(all.get('gateway_functions_seconds_count{code="200"}')).to.equal(6);
    expect(all.get("http_request_duration_seconds_count{}")).to.equal(6);
    expect(all.get("busker_function_wait_seconds_count{}")).to.equal(6);
    expect(all.get("gateway_service_ready_count{}")).to.equal(1);
    expect(all.get('pod_memory_working_set_bytes{namespace="openfaas-fn"}')).to.be.greaterThan(1e6);
    expect(await platform.status("f")).to.include({ invocationCount: 6 });
  });

  it("are the same in every gateway", async () => {
    await deploy("same");
    await call("same", 4);
    const first = await counted("same", 'http_requests_total{code="200"}', 4);
    await counted("same", 'http_requests_total{code="200"}', 4, second.metricsUrl);
    // A replica that does nothing tells of its CPU all the same.
    await eventually("both say the same", async () => {
      const [one, other] = [await scrape(platform.metricsUrl, "same"), await scrape(second.metricsUrl, "same")];
      return [...first.keys()].filter(isTotal).every((key) => one.get(key) === other.get(key)) || undefined;
    });
  });

  it("show calls that run while they do, and those that wait, at every gateway", async () => {
    // The scaler would leave no call waiting.
    const more = { labels: { "com.openfaas.scale.max": "1" } };
    await deploy("slow", { envVars: { ...handler, max_inflight: "1" }, more });
    const released = join(platform.dataFolder, "released");
    const calls = [0, 1, 2].map(() =>
      fetch(`${platform.url}/function/slow?until=${released}`).then((response) => response.text()),
    );
    for (const metricsUrl of [platform.metricsUrl, second.metricsUrl]) {
      await counted("slow", "gateway_function_invocation_waiting{}", 2, metricsUrl);
      await counted("slow", "gateway_function_invocation_inflight{}", 3, metricsUrl);
    }
    await counted("slow", "http_requests_in_flight{}", 1);
    await writeFile(released, "");
    await Promise.all(calls);
    await counted("slow", "gateway_function_invocation_inflight{}", 0);
    await counted("slow", "http_requests_in_flight{}", 0);
  });

  it("go on where they were when a gateway is killed", async () => {
    await deploy("killed");
    await call("killed", 5);
    await counted("killed", invocations, 5);
    const [pid] = platform.pids("gateway/main").filter((candidate) => candidate !== second.process.pid);
    process.kill(pid ?? 0, "SIGKILL");
    await eventually("the gateway answers again", async () =>
      (await fetch(`${platform.url}/healthz`).catch(() => undefined))?.ok ? true : undefined,
    );
    expect((await scrape(platform.metricsUrl, "killed")).get(invocations)).to.equal(5);
    await call("killed", 2);
    await counted("killed", invocations, 7);
    await counted("killed", 'http_requests_total{code="200"}', 7);
  });

  it("go on where they were when the server is killed, and miss none of the calls before", async () => {
    await deploy("through");
    await call("through", 5);
    const [pid] = platform.pids("nats.conf");
    process.kill(pid ?? 0, "SIGKILL");
    await eventually("functions answer again", async () =>
      (await fetch(`${platform.url}/function/f`)).ok ? true : undefined,
    );
    await eventually("this one too", async () => (await fetch(`${platform.url}/function/through`)).ok || undefined);
    await counted("through", invocations, 6);
    await counted("through", 'http_requests_total{code="200"}', 6);
    await counted("through", invocations, 6, second.metricsUrl);
  });

  it("have no series of a function that was removed, nor of names that nobody deployed, and begin anew", async () => {
    await deploy("again");
    await call("again", 5);
    await counted("again", invocations, 5);
    const request = (name: string) => platform.api("DELETE", "/system/functions", { functionName: name });
    expect((await request("again")).status).to.equal(202);
    await eventually("it is gone", async () =>
      (await scrape(platform.metricsUrl, "again")).size === 0 ? true : undefined,
    );
    expect((await fetch(`${platform.url}/function/nobody`)).status).to.equal(404);
    await deploy("again");
    await call("again", 2);
    await counted("again", invocations, 2);
    await counted("again", 'http_requests_total{code="200"}', 2);
    expect((await scrape(platform.metricsUrl, "nobody")).size).to.equal(0);
    expect(await platform.status("again")).to.include({ invocationCount: 2 });
  });

  it("count durable calls as their queue-worker sees them, and how many of them wait", async () => {
    await deploy("durable", { envVars: { ...handler, max_inflight: "1" } });
    const send = () => fetch(`${platform.url}/async-function/durable?ms=2000`, { method: "POST" });
    expect((await Promise.all([send(), send(), send()])).map(({ status }) => status)).to.deep.equal([202, 202, 202]);
    await eventually("some of them wait", async () =>
      ((await scrape(platform.metricsUrl, "durable")).get('queue_worker_pending_messages{queue_name="faas-request"}') ??
        0) > 0
        ? true
        : undefined,
    );
    const all = await counted("durable", 'queue_worker_messages_processed_total{queue_name="faas-request"}', 3);
    expect(all.get(invocations)).to.equal(3);
    await counted("durable", 'queue_worker_messages_submitted_total{queue_name="faas-request"}', 3);
    expect([...all.keys()].filter((series) => series.includes('code="202"'))).to.deep.equal([]);
    expect(await (await fetch(platform.metricsUrl)).text()).to.include(
      'http_requests_total{method="POST",path="/async-function/:name",status="202"} 3',
    );
    await counted("durable", 'queue_worker_pending_messages{queue_name="faas-request"}', 0);
  });

  it("replicas rise with an alert that fires, and fall when it is over", async () => {
    await deploy("alerted", { more: { labels: { "com.openfaas.scale.max": "5", "com.openfaas.scale.factor": "40" } } });
    const alert = (status: string) =>
      platform.api("POST", "/system/alert", {
        status,
        alerts: [{ status, labels: { alertname: "x", function_name: "alerted.openfaas-fn" } }],
      });
    expect((await alert("firing")).status).to.equal(200);
    await counted("alerted", "gateway_service_count{}", 3);
    expect((await alert("resolved")).status).to.equal(200);
    await counted("alerted", "gateway_service_count{}", 1);
  });
});
