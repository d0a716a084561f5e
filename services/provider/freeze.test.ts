import { readFileSync } from "node:fs";
import { expect } from "chai";
import type { FunctionSpec } from "../../schemas/function.ts";
import { replicaOrderSubject } from "../../schemas/subjects.ts";
import { eventually } from "../../test/support/platform.ts";
import { openServerState, type ServerState } from "../../test/support/server-state.ts";
import { connectWatched } from "../../test/support/watched-client.ts";
import { processorTicks, processStates, stateOf, ticksOf, untilPaused } from "./fixtures/frozen.ts";
import { handlerFiles, isExitOf, openReplicaFiles, type ReplicaFiles, whoAmI } from "./fixtures/replica-files.ts";
import { startTestPlatform, type TestPlatform, textOf, untilValue } from "./fixtures/test-provider.ts";
import { findByEnvironment, signalProcess } from "./process-identity.ts";
import type { Provider } from "./provider.ts";

const namespace = "openfaas-fn";
const annotations = { "com.busker.zero": "freeze" };

/** A handler with three busy loops: a child, one that lost its parent, and a worker's child without its environment. */
const spawnsLoops = `
import { spawn } from "node:child_process";
import { Worker } from "node:worker_threads";
const loop = "while :; do :; done";
spawn("sh", ["-c", \`(setsid sh -c '\${loop}' &); exec sh -c '\${loop}'\`], { detached: true, stdio: "ignore" });
const work = 'const child = require("node:child_process").spawn("env", ["-i", "sh", "-c", "' + loop + '"], { detached: true }); require("node:worker_threads").parentPort.postMessage(child.pid); setInterval(() => {}, 1e6)';
const bare = new Promise((resolve) => new Worker(work, { eval: true }).once("message", resolve));
export default async () => process.pid + " " + (await bare);
`;

describe("a function that freezes at zero", function () {
  this.timeout(60_000);
  let platform: TestPlatform;
  let provider: Provider;
  let files: ReplicaFiles;
  let image: string;
  const loops: number[] = [];

  const deploy = async (name: string, more: Partial<FunctionSpec> = {}): Promise<string> => {
    const spec = { name, image, envVars: { mode: "handler" }, annotations, ...more };
    const outcome = await platform.deploy(spec);
    expect(outcome.subject, JSON.stringify(outcome.data)).to.include(".deployed.");
    return files.idsOf(name)[0] ?? "";
  };
  const freeze = async (name: string, id: string): Promise<void> => {
    await platform.wish("scale", name, { replicas: 0 });
    await untilPaused(files, id);
  };
  const say = async (name: string, body: string): Promise<string> => textOf(await platform.call(name, body));
  const order = (id: string, data: object): void =>
    platform.bus.nc.publish(replicaOrderSubject(id), JSON.stringify(data));
  const hears = (state: string, id: string, afterMs: number) =>
    platform.events.until(
      `${state} of ${id}`,
      ({ subject, atMs }) => subject.startsWith(`busker.replica.${state}.`) && subject.endsWith(id) && atMs > afterMs,
    );

  before(async () => {
    platform = await startTestPlatform();
    provider = await platform.openProvider();
    files = openReplicaFiles(platform.nats.dataFolder);
    image = await platform.addBundle(whoAmI);
  });
  after(async () => {
    await provider?.stop();
    // Gone with its replica, if all is well.
    for (const pid of loops) signalProcess(pid, "SIGKILL");
    await platform?.stop();
  });

  it("keeps one replica, stopped, and wakes that one for the next call, because that is faster than a start", async () => {
    const id = await deploy("sleepy");
    const pid = String(files.pidOf(id));
    expect(await say("sleepy", "a")).to.equal(`a ${pid}`);
    await freeze("sleepy", id);
    const frozen = await untilValue(platform.status, "sleepy", (value) => value?.replicas[0]?.state === "frozen");
    expect(frozen?.replicas).to.have.length(1);
    expect(await say("sleepy", "b")).to.equal(`b ${pid}`);
    await untilValue(platform.status, "sleepy", (value) => value?.replicas[0]?.state === "ready");
    expect((await platform.functions.get(`sleepy.${namespace}`))?.value.replicas).to.equal(1);
    expect(files.idsOf("sleepy")).to.deep.equal([id]);
  });

  it("ends one that has slept for as long as its function says, because nobody misses it by then", async () => {
    const stopAfter = { ...annotations, "com.busker.zero.stop-after": "100ms" };
    const id = await deploy("tired", { annotations: stopAfter });
    await platform.wish("scale", "tired", { replicas: 0 });
    await platform.events.until("its end", isExitOf(id), 20_000);
    await untilValue(platform.status, "tired", (value) => value?.replicas.length === 0);
    expect(await say("tired", "a")).to.match(/^a \d+$/);
  });

  it("takes no processor time, its children and those that lost their parent included, because it costs nothing to keep", async () => {
    const id = await deploy("busy", { image: await platform.addBundle({ "handler.mjs": spawnsLoops }) });
    await eventually("its processes", () => (processStates(files, id).length === 3 ? true : undefined));
    const answer = await say("busy", "");
    const bare = Number(answer.split(" ")[1]);
    loops.push(bare);
    await freeze("busy", id);
    const before = processorTicks(files, id) + ticksOf(bare);
    // What is to be seen is that time passes and nothing happens; a running loop gets some of any 300 ms.
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(processorTicks(files, id) + ticksOf(bare)).to.equal(before);
    expect(await say("busy", "")).to.equal(answer);
    await eventually("its loops to go on", () => (processorTicks(files, id) > before + 5 ? true : undefined));
    expect(stateOf(bare)).to.not.equal("T");
    await freeze("busy", id);
    await platform.wish("remove", "busy", {});
    await platform.events.until("its end", isExitOf(id));
    expect(findByEnvironment(files.markerOf(id))).to.deep.equal([]);
    // A zombie where nobody reaps.
    expect(stateOf(bare)).to.be.oneOf([undefined, "Z"]);
  });

  it("wakes for a plain NATS request, because such a caller knows only the queue group", async () => {
    const id = await deploy("plain");
    await freeze("plain", id);
    const creds = readFileSync(platform.nats.credsFile("invoke"), "utf8");
    const client = await connectWatched(platform.nats, creds, "_INBOX");
    const reply = await client.nc.request(`busker.invoke.${namespace}.plain`, "x", { timeout: 5000 });
    expect(reply.string()).to.equal(`x ${files.pidOf(id)}`);
    await client.close();
  });

  it("loses no plain NATS request while it goes to sleep and wakes, because somebody is always in the queue group", async () => {
    const id = await deploy("hammered");
    const creds = readFileSync(platform.nats.credsFile("invoke"), "utf8");
    const client = await connectWatched(platform.nats, creds, "_INBOX");
    let calling = true;
    const answers = new Set<string>();
    const call = async (): Promise<void> => {
      while (calling)
        answers.add(
          await client.nc.request(`busker.invoke.${namespace}.hammered`, "x", { timeout: 5000 }).then(
            (reply) => reply.string(),
            (error: unknown) => String(error),
          ),
        );
    };
    const callers = [call(), call(), call(), call()];
    for (let round = 0; round < 60; round += 1) await platform.wish("scale", "hammered", { replicas: 0 });
    calling = false;
    await Promise.all(callers);
    expect([...answers]).to.deep.equal([`x ${files.pidOf(id)}`]);
    await client.close();
  });

  it("finishes the call in flight before it freezes, and takes another meanwhile, because none may be lost", async () => {
    const slow = await platform.addBundle(
      handlerFiles(
        "console.log('in ' + event.body); await new Promise((done) => setTimeout(done, Number(event.body))); return String(process.pid)",
      ),
    );
    const id = await deploy("slow", { image: slow });
    const pid = String(files.pidOf(id));
    const first = say("slow", "3000");
    let isOver = false;
    void first.finally(() => (isOver = true)).catch(() => undefined);
    await platform.events.until("the call to be in it", ({ subject }) => subject.includes(`.log.${namespace}.slow.`));
    const startedMs = performance.now();
    await platform.wish("scale", "slow", { replicas: 0 });
    await hears("draining", id, startedMs);
    expect(await say("slow", "0")).to.equal(pid);
    expect(isOver).to.equal(false);
    expect(await first).to.equal(pid);
    const second = say("slow", "300");
    await freeze("slow", id);
    expect(await second).to.equal(pid);
  });

  it("loses no call to a race with the next one, because both come at any time", async () => {
    const id = await deploy("raced");
    const pid = files.pidOf(id);
    for (let round = 0; round < 40; round += 1) {
      const scaled = platform.wish("scale", "raced", { replicas: 0 });
      // From the wish's way in to the time after the pause.
      if (round % 4 !== 0) await new Promise((resolve) => setTimeout(resolve, round));
      const answers = await Promise.all([say("raced", "a"), say("raced", "b")]);
      expect(answers, `round ${round}`).to.deep.equal([`a ${pid}`, `b ${pid}`]);
      await scaled;
    }
    expect(files.idsOf("raced")).to.deep.equal([id]);
  });

  it("counts what sleeps when more are wished, because it is there", async () => {
    const id = await deploy("more");
    await freeze("more", id);
    const startedMs = performance.now();
    await platform.wish("scale", "more", { replicas: 2 });
    await hears("ready", id, startedMs);
    await untilValue(
      platform.status,
      "more",
      (value) => value?.replicas.filter(({ state }) => state === "ready").length === 2,
    );
    expect(files.idsOf("more")).to.have.length(2).and.to.include(id);
    await platform.wish("remove", "more", {});
  });

  it("ends what sleeps of an old revision, because the next call is for the new one", async () => {
    const id = await deploy("updated");
    await freeze("updated", id);
    const next = await platform.addBundle(handlerFiles("return 'new'"));
    const outcome = await platform.deploy(
      { name: "updated", image: next, envVars: { mode: "handler" }, annotations },
      "update",
    );
    expect(outcome.subject).to.include(".updated.");
    const exit = await platform.events.until("the end of the old", isExitOf(id));
    expect(exit.data).to.not.have.property("reason");
    expect(await say("updated", "")).to.equal("new");
  });

  it("replaces one that was killed in its sleep, without a pause, because its function did nothing wrong", async () => {
    const id = await deploy("killed");
    await freeze("killed", id);
    process.kill(files.pidOf(id), "SIGKILL");
    expect(await say("killed", "x")).to.match(/^x \d+$/);
    const status = await untilValue(platform.status, "killed", (value) => value?.replicas[0]?.state === "ready");
    expect(status?.problem).to.equal(undefined);
    expect(files.idsOf("killed")).to.have.length(1).and.not.to.include(id);
  });

  it("sleeps and wakes across providers, because a provider may die while it sleeps", async () => {
    const id = await deploy("handed-over");
    await freeze("handed-over", id);
    await provider.leave();
    provider = await platform.openProvider();
    const status = await untilValue(platform.status, "handed-over", (value) => value?.replicas[0]?.state === "frozen");
    expect(status?.replicas).to.have.length(1);
    expect(processStates(files, id)).to.include("T");
    expect(await say("handed-over", "x")).to.equal(`x ${files.pidOf(id)}`);
  });

  it("is taken over when it has frozen and its provider died before it was paused", async () => {
    const id = await deploy("between");
    await provider.leave();
    order(id, { kind: "freeze", number: 1 });
    await hears("frozen", id, 0);
    provider = await platform.openProvider();
    expect(await say("between", "x")).to.equal(`x ${files.pidOf(id)}`);
  });

  it("is told to wake when it freezes unasked, because an order may come late", async () => {
    const id = await deploy("unasked");
    for (const number of [1, 2]) {
      const startedMs = performance.now();
      order(id, { kind: "freeze", number });
      order(id, { kind: "freeze", number });
      const { atMs } = await hears("frozen", id, startedMs);
      await hears("ready", id, atMs);
    }
    expect(await say("unasked", "x")).to.equal(`x ${files.pidOf(id)}`);
    expect(processStates(files, id)).to.not.include("T");
  });

  it("comes back after a restart of nats-server, because its connection is gone and so are orders to it", async () => {
    const id = await deploy("cut-off");
    await freeze("cut-off", id);
    await platform.nats.restart();
    await eventually("the server", () => (platform.bus.isConnected() ? true : undefined));
    expect(await say("cut-off", "x")).to.equal(`x ${files.pidOf(id)}`);
  });

  it("leaves no process behind when its provider stops, because a stopped process would stay for ever", async () => {
    const id = await deploy("left");
    await freeze("left", id);
    const marker = files.markerOf(id);
    await provider.stop();
    expect(findByEnvironment(marker)).to.deep.equal([]);
    expect(files.folders()).to.deep.equal([]);
    provider = await platform.openProvider();
  });
});

describe("a function that sleeps for long", function () {
  this.timeout(60_000);
  let platform: TestPlatform;
  let provider: Provider;
  let files: ReplicaFiles;
  let server: ServerState;

  const deploy = async (name: string, envVars: Readonly<Record<string, string>> = {}): Promise<string> => {
    const image = await platform.addBundle(whoAmI);
    await platform.deploy({ name, image, envVars: { mode: "handler", ...envVars }, annotations });
    return files.idOf(name);
  };
  /** Freezes it and waits until the server has given its connection up. */
  const freezeUntilCutOff = async (name: string, id: string): Promise<void> => {
    expect(await server.knows(id)).to.equal(true);
    await platform.wish("scale", name, { replicas: 0 });
    await untilPaused(files, id);
    await eventually("the server to give it up", async () => ((await server.knows(id)) ? undefined : true));
  };

  before(async () => {
    platform = await startTestPlatform({ ping_interval: '"700ms"', ping_max: "2" });
    provider = await platform.openProvider({ ttlMs: 3000 });
    files = openReplicaFiles(platform.nats.dataFolder);
    server = await openServerState({ dataFolder: platform.nats.dataFolder, natsUrl: platform.nats.url });
  });
  after(async () => {
    await server?.close();
    await provider?.stop();
    await platform?.stop();
  });

  it("connects again when the server has given its silent connection up", async () => {
    const id = await deploy("silent");
    const pid = files.pidOf(id);
    await freezeUntilCutOff("silent", id);
    expect(textOf(await platform.call("silent", "x"))).to.equal(`x ${pid}`);
  });

  it("comes back with the credentials that were renewed meanwhile, and no time that has passed is held against it", async () => {
    const id = await deploy("expired", { exec_timeout: "500ms" });
    const pid = files.pidOf(id);
    const file = files.credentialsFile(id);
    const first = readFileSync(file, "utf8");
    const endMs = Date.now() + 3000;
    await freezeUntilCutOff("expired", id);
    await eventually("the first credentials to run out", () => (Date.now() > endMs ? true : undefined));
    expect(readFileSync(file, "utf8")).to.not.equal(first);
    for (const body of ["x", "y"]) expect(textOf(await platform.call("expired", body))).to.equal(`${body} ${pid}`);
    expect(files.idOf("expired")).to.equal(id);
  });
});
