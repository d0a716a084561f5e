import { readFileSync } from "node:fs";
import { expect } from "chai";
import { eventually, findProcesses, startTestPlatform, type TestPlatform } from "./support/platform.ts";

/*
 * Functions that are frozen at zero, as their users meet them: over HTTP, on a whole platform.
 */

const annotations = { "com.busker.zero": "freeze" };

const server = `
import { createServer } from "node:http";
createServer((request, response) => {
  if (!request.url.startsWith("/events")) return response.end(String(process.pid));
  response.writeHead(200, { "content-type": "text/event-stream" });
  const timer = setInterval(() => response.write("data: x\\n\\n"), 20);
  response.on("close", () => clearInterval(timer));
}).listen(Number(process.env.PORT), "127.0.0.1");
`;

const stateOf = (pid: number): string | undefined => {
  try {
    return /\) (\S) /.exec(readFileSync(`/proc/${pid}/stat`, "utf8"))?.[1];
  } catch {
    return undefined;
  }
};
const isStopped = (pid: number): true | undefined => (stateOf(pid) === "T" ? true : undefined);

describe("functions that are frozen at zero", function () {
  this.timeout(60_000);
  let platform: TestPlatform;

  const deploy = async (name: string, more: object = {}): Promise<number> => {
    const envVars = { mode: "http", ...("envVars" in more ? (more.envVars as object) : {}) };
    const fn = { name, code: { "server.mjs": server }, envVars, more: { annotations, envProcess: "node server.mjs" } };
    const deployed = await platform.deploy(fn);
    expect(deployed.status, await deployed.text()).to.equal(202);
    return Number(await (await platform.invoke(name)).text());
  };
  const scale = (name: string, replicas: number) =>
    platform.api("POST", `/system/scale-function/${name}`, { serviceName: name, replicas });

  before(async () => {
    platform = await startTestPlatform();
  });
  after(() => platform?.stop());

  it("are shown so, and not as available, because nobody is served by them as they are", async () => {
    const pid = await deploy("shown");
    await scale("shown", 0);
    await eventually("its freeze", () => isStopped(pid));
    const status = await eventually("its status", async () => {
      const shown = await platform.status("shown");
      return (shown["replicaStates"] as { state: string }[])[0]?.state === "frozen" ? shown : undefined;
    });
    expect(status).to.not.have.any.keys("replicas", "availableReplicas");
    expect(status["replicaStates"]).to.have.length(1);
  });

  it("answer the next call with the process they had, the server behind the watchdog as well", async () => {
    const pid = await deploy("woken");
    await scale("woken", 0);
    await eventually("its freeze", () => isStopped(pid));
    const answers = await Promise.all(
      Array.from({ length: 20 }, async () => (await platform.invoke("woken")).text().then(Number)),
    );
    expect(new Set(answers)).to.deep.equal(new Set([pid]));
    const status = await eventually("its status", async () => {
      const shown = await platform.status("woken");
      return shown["availableReplicas"] === 1 ? shown : undefined;
    });
    expect(status["replicas"]).to.equal(1);
  });

  it("do not freeze while a stream is open, because it would stand still", async () => {
    const pid = await deploy("streaming");
    const aborter = new AbortController();
    const response = await platform.invoke("streaming/events", { signal: aborter.signal });
    const reader = response.body?.getReader();
    await reader?.read();
    await scale("streaming", 0);
    await eventually("its leave", async () =>
      (await platform.status("streaming"))["availableReplicas"] === undefined ? true : undefined,
    );
    for (let events = 0; events < 10; events += 1) expect((await reader?.read())?.done).to.equal(false);
    expect(isStopped(pid)).to.equal(undefined);
    aborter.abort();
    await eventually("its freeze", () => isStopped(pid));
    expect(await (await platform.invoke("streaming")).text()).to.equal(String(pid));
  });

  it("freeze when a stream has come to its function's timeout, as it would end then at any count", async () => {
    const pid = await deploy("endless", { envVars: { exec_timeout: "1s" } });
    const response = await platform.invoke("endless/events");
    await scale("endless", 0);
    await eventually("its freeze", () => isStopped(pid));
    const failure = await response.text().then(
      () => "ended",
      () => "cut",
    );
    expect(failure).to.equal("cut");
    expect(await (await platform.invoke("endless")).text()).to.equal(String(pid));
  });

  it("hold the call of a client that connects while they fall asleep and wake, over and over", async () => {
    const pid = await deploy("restless");
    let scaling = true;
    const scaler = (async () => {
      while (scaling) await scale("restless", 0);
    })();
    const statuses: string[] = [];
    for (let calls = 0; calls < 150; calls += 1) {
      const response = await platform.invoke("restless");
      statuses.push(`${response.status} ${await response.text()}`);
    }
    scaling = false;
    await scaler;
    expect(new Set(statuses)).to.deep.equal(new Set([`200 ${pid}`]));
  });

  it("serve a provider that was killed in their sleep and one that comes after", async () => {
    const pid = await deploy("orphaned");
    await scale("orphaned", 0);
    await eventually("its freeze", () => isStopped(pid));
    for (const provider of platform.pids("dist/services/provider/main.js")) process.kill(provider, "SIGKILL");
    expect(await (await platform.invoke("orphaned")).text()).to.equal(String(pid));
  });

  it("leave no process behind when the platform ends, with its provider killed before", async () => {
    const pid = await deploy("last");
    await scale("last", 0);
    await eventually("its freeze", () => isStopped(pid));
    const { dataFolder } = platform;
    for (const provider of platform.pids("dist/services/provider/main.js")) process.kill(provider, "SIGKILL");
    await platform.stop();
    expect(stateOf(pid)).to.be.oneOf([undefined, "Z"]);
    expect(findProcesses((_, environment) => environment.includes(dataFolder))).to.deep.equal([]);
  });
});
