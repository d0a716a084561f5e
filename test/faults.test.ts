import { expect } from "chai";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { keepCalling } from "./support/keep-calling.ts";
import { eventually, findProcesses, startTestPlatform, type TestPlatform, untilInFlight } from "./support/platform.ts";

/*
 * What happens when something dies (design §7), tried on a whole platform with real kills.
 */

const slowServer = `
import { createServer } from "node:http";
createServer((request, response) => {
  const ms = Number(new URL(request.url, "http://x").searchParams.get("ms") ?? 0);
  setTimeout(() => response.end(String(process.pid)), ms);
}).listen(Number(process.env.PORT), "127.0.0.1");
`;

// Of a call that may take 30 s or more: it ended for its replica's sake. How soon it really is, the bench says.
const soonMs = 8000;

const oneOf = <T>(items: readonly T[]): T => {
  const [item] = items;
  if (item === undefined) throw new Error("there is none");
  return item;
};

const isHealthy = async (platform: TestPlatform): Promise<true | undefined> =>
  (await fetch(`${platform.url}/healthz`).catch(() => undefined))?.ok ? true : undefined;

describe("what happens when something dies", function () {
  this.timeout(60_000);
  let platform: TestPlatform;

  const ready = (name: string, count: number) =>
    eventually(
      `${name} has ${count} ready replicas`,
      async () => ((await platform.status(name))["availableReplicas"] ?? 0) === count || undefined,
    );

  before(async () => {
    platform = await startTestPlatform({ BUSKER_MAX_LINE: "20" });
    const http = { code: { "server.mjs": slowServer }, envVars: { fprocess: "node server.mjs", mode: "http" } };
    const deployments = [
      { name: "slow", ...http },
      {
        name: "single",
        ...http,
        envVars: { ...http.envVars, max_inflight: "1" },
        // Its calls are to wait, and not to be given more replicas.
        more: { labels: { "com.openfaas.scale.max": "1" } },
      },
      { name: "short", ...http, envVars: { ...http.envVars, exec_timeout: "1s" } },
      {
        name: "sleeper",
        code: { "s.sh": "sleep $Http_Query\n" },
        envVars: { fprocess: "sh s.sh", exec_timeout: "1s" },
      },
      // Its processes end by their deadline after the test's own.
      { name: "napper", code: { "s.sh": "sleep $Http_Query\n" }, envVars: { fprocess: "sh s.sh", exec_timeout: "1h" } },
      {
        name: "looper",
        code: { "h.mjs": "export default async (event) => { if (event.body === 'loop') for (;;); return 'fine'; };" },
        envVars: { mode: "handler", handler: "h.mjs", exec_timeout: "1s" },
      },
    ];
    for (const fn of deployments) {
      const response = await platform.deploy(fn);
      expect(response.status, await response.text()).to.equal(202);
    }
  });

  after(async () => {
    expect(await platform.stop()).to.equal(0);
    expect(platform.pids("watchdog"), "no replica is left").to.deep.equal([]);
  });

  it("a replica killed in mid-call: 502 at once, and a new replica serves", async () => {
    const call = platform.invoke("slow?ms=30000");
    await untilInFlight(platform, "slow", 1);
    const killedMs = performance.now();
    process.kill(oneOf(platform.pids("/slow-")), "SIGKILL");
    const response = await call;
    expect(response.status).to.equal(502);
    expect(performance.now() - killedMs).to.be.lessThan(soonMs);
    expect(response.headers.get("x-openfaas-internal")).to.equal("gateway");
    expect(await response.text()).to.match(/went away in the middle of the call/);
    expect((await platform.invoke("slow")).status).to.equal(200);
  });

  it("the function's own process killed in mid-call: 502 at once, and a new one serves", async () => {
    const pid = Number(await (await platform.invoke("slow")).text());
    const call = platform.invoke("slow?ms=30000");
    await untilInFlight(platform, "slow", 1);
    const killedMs = performance.now();
    process.kill(pid, "SIGKILL");
    expect((await call).status).to.equal(502);
    expect(performance.now() - killedMs).to.be.lessThan(soonMs);
    await eventually("a new one serves", async () => (await platform.invoke("slow")).ok || undefined);
  });

  it("a call that overruns: 504 at the deadline, in every kind of function", async () => {
    for (const [path, init] of [
      ["short?ms=30000", {}],
      ["sleeper?30", {}],
      ["looper", { method: "POST", body: "loop" }],
      ["slow?ms=30000", { headers: { "x-timeout": "1s" } }],
    ] as const) {
      const startMs = performance.now();
      const response = await platform.invoke(path, init);
      expect(response.status, path).to.equal(504);
      expect(performance.now() - startMs, path).to.be.within(900, 15_000);
    }
    expect(
      findProcesses((line) => line === "sleep 30 "),
      "the deadline kills the whole group",
    ).to.deep.equal([]);
    expect(await (await platform.invoke("looper", { method: "POST", body: "x" })).text()).to.equal("fine");
  });

  it("a client that goes away stops its call's processes", async () => {
    const controller = new AbortController();
    const call = platform.invoke("napper?3100", { signal: controller.signal }).catch(() => "gone");
    await eventually(
      "the process runs",
      () => findProcesses((line) => line === "sleep 3100 ").length === 1 || undefined,
    );
    controller.abort();
    expect(await call).to.equal("gone");
    await eventually(
      "the process is gone",
      () => findProcesses((line) => line === "sleep 3100 ").length === 0 || undefined,
    );
  });

  it("a full line: 429 with Retry-After at once, and those in line are served", async () => {
    const calls = Array.from({ length: 40 }, () => platform.invoke("single?ms=60"));
    const responses = await Promise.all(calls);
    const refused = responses.filter(({ status }) => status === 429);
    // One runs and twenty wait; a call that ends while the last ones still arrive makes room for one more.
    const served = responses.filter(({ status }) => status === 200).length;
    expect(served).to.be.within(21, 24);
    expect(refused).to.have.length(40 - served);
    for (const response of refused) {
      expect(response.headers.get("retry-after")).to.equal("1");
      expect(await response.text()).to.match(/already wait for single/);
    }
  });

  it("the provider killed: calls keep flowing, and on return nothing runs twice or is forgotten", async () => {
    await platform.api("POST", "/system/scale-function/slow", { replicas: 2 });
    await ready("slow", 2);
    const before = platform.pids("watchdog").toSorted();
    const calls = keepCalling(async () => String((await platform.invoke("slow")).status), 1);
    const provider = oneOf(platform.pids("services/provider/main"));
    process.kill(provider, "SIGKILL");
    await eventually(
      "a new provider runs",
      () => platform.pids("services/provider/main").some((pid) => pid !== provider) || undefined,
    );
    const scaled = await platform.api("POST", "/system/scale-function/slow", { replicas: 3 });
    expect(scaled.status).to.equal(202);
    await ready("slow", 3);
    expect(Object.keys(await calls.stop())).to.deep.equal(["200"]);
    const after = platform.pids("watchdog").toSorted();
    expect(after).to.include.members(before);
    expect(after).to.have.length(before.length + 1);
    process.kill(oneOf(platform.pids("/single-")), "SIGKILL");
    await eventually(
      "an adopted replica that dies is replaced",
      async () => (await platform.invoke("single")).ok || undefined,
    );
  });

  it("a wish made while the provider is away is carried out when it is back", async () => {
    process.kill(oneOf(platform.pids("services/provider/main")), "SIGKILL");
    const response = await platform.api("POST", "/system/scale-function/slow", { replicas: 1 });
    expect(response.status).to.equal(202);
    await ready("slow", 1);
  });

  it("the gateway killed: it is back by itself, and the replicas have not noticed", async () => {
    // One replica of each function: those that were scaled away before have ended by then.
    const before = await eventually("six replicas run", () => {
      const pids = platform.pids("watchdog").toSorted();
      return pids.length === 6 ? pids : undefined;
    });
    process.kill(oneOf(platform.pids("services/gateway/main")), "SIGKILL");
    await eventually("the gateway answers again", () => isHealthy(platform));
    expect((await platform.invoke("slow")).status).to.equal(200);
    expect(platform.pids("watchdog").toSorted()).to.deep.equal(before);
  });

  it("nats-server killed: 503 at once, and everything works again without a restart when it is back", async () => {
    const services = [...platform.pids("services/gateway/main"), ...platform.pids("services/provider/main")];
    const waiting = platform.invoke("slow?ms=20000");
    await untilInFlight(platform, "slow", 1);
    process.kill(oneOf(platform.pids("nats.conf")), "SIGKILL");
    expect((await waiting).status).to.equal(503);
    const startMs = performance.now();
    const response = await platform.invoke("slow");
    if (response.status !== 200) expect(response.status).to.equal(503);
    expect(performance.now() - startMs).to.be.lessThan(soonMs);
    await eventually("functions answer again", async () => (await platform.invoke("slow")).ok || undefined);
    await eventually(
      "the API works again",
      async () => (await platform.api("POST", "/system/scale-function/slow", { replicas: 2 })).ok || undefined,
    );
    await ready("slow", 2);
    expect([...platform.pids("services/gateway/main"), ...platform.pids("services/provider/main")]).to.deep.equal(
      services,
    );
  });

  it("a handler that takes more memory than its limit is ended, and the status says why", async () => {
    const code =
      "const kept = []; export default async (event) => { if (event.body === 'grow') for (let i = 0; i < 40; i++) { kept.push(Buffer.alloc(8e6, 1)); await new Promise((r) => setTimeout(r, 50)); } return 'fine'; };";
    const deployed = await platform.deploy({
      name: "grower",
      code: { "h.mjs": code },
      envVars: { mode: "handler", handler: "h.mjs" },
      more: { limits: { memory: "64Mi" } },
    });
    expect(deployed.status).to.equal(202);
    expect(await (await platform.invoke("grower", { method: "POST", body: "x" })).text()).to.equal("fine");
    const response = await platform.invoke("grower", { method: "POST", body: "grow" });
    expect(response.status).to.equal(502);
    expect(await response.text()).to.match(/out of memory: the function used \d+ bytes, its limit is 67108864/);
  });

  it("a memory limit counts the function and not the watchdog: a shell script runs within 16Mi", async () => {
    const envVars = { fprocess: "cat" };
    await platform.deploy({ name: "tiny", code: { "a.txt": "" }, envVars, more: { limits: { memory: "16Mi" } } });
    for (let call = 0; call < 5; call += 1)
      expect(await (await platform.invoke("tiny", { method: "POST", body: "small" })).text()).to.equal("small");
  });

  it("a function that crashes again and again is backed off, says so in its status, and stops nobody else", async () => {
    await platform.deploy({
      name: "crasher",
      code: {
        "server.mjs": `${slowServer}\nsetTimeout(() => { console.error("out of luck"); process.exit(3); }, 100);`,
      },
      envVars: { fprocess: "node server.mjs", mode: "http" },
    });
    const problem = await eventually("its status says why", async () => {
      const status = await platform.status("crasher");
      return (status["problem"] as { message: string; failures: number } | undefined)?.failures
        ? status["problem"]
        : undefined;
    });
    expect((problem as { message: string }).message).to.include("out of luck");
    expect((await platform.invoke("slow")).status).to.equal(200);
    expect((await platform.api("DELETE", "/system/functions", { functionName: "crasher" })).status).to.equal(202);
  });
});

describe("Ctrl-C", function () {
  this.timeout(60_000);

  for (const signal of ["SIGINT", "SIGTERM"] as const)
    it(`${signal} stops everything, exits 0 and leaves no process and no replica folder behind`, async () => {
      const platform = await startTestPlatform();
      await platform.deploy({
        name: "slow",
        code: { "server.mjs": slowServer },
        envVars: { fprocess: "node server.mjs", mode: "http" },
      });
      expect(platform.pids("watchdog")).to.have.length(1);
      platform.process.kill(signal);
      const code = await eventually("it ends", () => platform.process.exitCode ?? undefined, 20_000);
      expect(code).to.equal(0);
      expect(platform.pids("")).to.deep.equal([]);
      expect(await readdir(join(platform.dataFolder, "replicas"))).to.deep.equal([]);
      await platform.stop();
    });

  it("a platform whose `busker up` was killed with -9 is cleared away by the next start on its data", async () => {
    const first = await startTestPlatform();
    await first.deploy({
      name: "kept",
      code: { "h.mjs": "export default async () => 'kept';" },
      envVars: { mode: "handler", handler: "h.mjs" },
    });
    first.process.kill("SIGKILL");
    const second = await startTestPlatform({ BUSKER_DATA: first.dataFolder });
    expect(await (await second.invoke("kept")).text()).to.equal("kept");
    expect(second.pids("watchdog.mjs")).to.have.length(1);
    expect(second.pids("nats.conf")).to.have.length(1);
    expect(await second.stop()).to.equal(0);
    expect(first.pids("")).to.deep.equal([]);
    await first.stop();
  });
});
