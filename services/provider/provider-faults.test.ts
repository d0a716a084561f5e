import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { watch } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import type { EventData } from "../../schemas/events.ts";
import { bundlePrefix, type FunctionRecord } from "../../schemas/function.ts";
import { logSubject } from "../../schemas/subjects.ts";
import { connectWatched } from "../../test/support/watched-client.ts";
import {
  handlerFiles,
  isExitOf,
  isReplica,
  openReplicaFiles,
  type ReplicaFiles,
  whoAmI,
} from "./fixtures/replica-files.ts";
import { startTestPlatform, type TestPlatform, textOf, untilValue } from "./fixtures/test-provider.ts";
import { findByEnvironment } from "./process-identity.ts";
import type { Provider } from "./provider.ts";

const namespace = "openfaas-fn";
const env = { mode: "handler" };
// Of a call that may take 30 s or more: it ended for its replica's sake. How soon it really is, the bench says.
const soonMs = 8000;

describe("a provider in trouble", function () {
  this.timeout(60_000);
  let platform: TestPlatform;
  let provider: Provider;
  let files: ReplicaFiles;
  let image: string;

  const recordOf = async (name: string): Promise<FunctionRecord> => {
    const entry = await platform.functions.get(`${name}.${namespace}`);
    if (!entry) throw new Error(`there is no ${name}`);
    return entry.value;
  };

  before(async () => {
    platform = await startTestPlatform();
    provider = await platform.openProvider();
    files = openReplicaFiles(platform.nats.dataFolder);
    image = await platform.addBundle(whoAmI);
    await platform.deploy({ name: "echo", image, envVars: { ...env, GREETING: "hi " } });
    await platform.deploy({ name: "busy", image, envVars: env, labels: { "com.openfaas.scale.min": "2" } });
    await untilValue(
      platform.status,
      "busy",
      (value) => value?.replicas.filter(({ state }) => state === "ready").length === 2,
    );
  });
  after(async () => {
    await provider?.stop();
    await platform?.stop();
  });

  it("tells of a killed replica at once, long before the deadline of its call, and replaces it, because callers fail on its word", async () => {
    const outcome = await platform.deploy({
      name: "victim",
      image: await platform.addBundle(handlerFiles("console.log('it is in'); await new Promise(() => {})")),
      envVars: env,
    });
    expect(outcome.subject).to.include(".deployed.");
    const id = files.idOf("victim");
    const answer = platform.call("victim");
    await platform.events.until(
      "the call to be in it",
      ({ subject }) => subject.endsWith(`.victim.${id}`) && subject.includes(".log."),
    );
    const killedMs = performance.now();
    process.kill(files.pidOf(id), "SIGKILL");
    expect(textOf(await answer)).to.match(/^replica_lost: .*SIGKILL/);
    expect(performance.now() - killedMs).to.be.lessThan(soonMs);
    const event = await platform.events.until("its exit", isExitOf(id));
    expect(event.data["reason"]).to.include("SIGKILL");
    await platform.events.until(
      "its successor",
      (next) => isReplica("ready", "victim")(next) && !next.subject.endsWith(id),
    );
    const status = await untilValue(
      platform.status,
      "victim",
      (value) => value?.replicas.some(({ state }) => state === "ready") ?? false,
    );
    expect(status?.problem).to.include({ failures: 1 });
    await platform.wish("remove", "victim", {});
  });

  const ends: readonly (readonly [string, string, string, RegExp])[] = [
    ["leaves without a word", "quits", "process.exit(0)", /^\[busker\] replica ended: ended with exit code 0$/],
    [
      "throws where nobody catches",
      "throws",
      "setImmediate(() => { throw new Error('the cat is out') }); await new Promise(() => {})",
      /^\[busker\] replica ended: [^]*the cat is out/,
    ],
    [
      "loops beyond its deadline",
      "loops",
      "for (;;);",
      /^\[busker\] replica ended: a call overran its deadline and did not let go of the thread \(endless loop\?\)/,
    ],
    [
      "grows out of its heap",
      "grows",
      "const all = []; for (;;) all.push(new Array(1e4).fill(Math.random()))",
      /^\[busker\] replica ended: [^]*(heap out of memory|memory limit)/,
    ],
  ];
  for (const [what, name, code, says] of ends)
    it(`writes into its log why a replica ended that ${what}, because it could not do so itself`, async () => {
      const image = await platform.addBundle(handlerFiles(code));
      const envVars = { ...env, exec_timeout: name === "loops" ? "500ms" : "20s" };
      await platform.deploy({ name, image, envVars, limits: { memory: "96Mi" } });
      const id = files.idOf(name);
      void platform.call(name, "", 30_000);
      const textOfLog = (data: Record<string, unknown>): string =>
        (data as unknown as EventData["io.busker.log"]).lines.map(({ text }) => text).join("\n");
      const event = await platform.events.until(
        "the log of its end",
        ({ subject, data }) =>
          subject === logSubject(namespace, name, id) && textOfLog(data).startsWith("[busker] replica ended"),
        20_000,
      );
      expect(textOfLog(event.data)).to.match(says);
      await platform.wish("remove", name, {});
    });

  it("backs off from a crash loop and reports it, because restarting at once would only burn the machine", async () => {
    const marker = join(platform.nats.dataFolder, "crash");
    const crashing = await platform.addBundle({
      "handler.mjs": `import { existsSync } from "node:fs";\nif (existsSync(${JSON.stringify(marker)})) throw new Error("no more");\nexport default async () => "ok";\n`,
    });
    await platform.deploy({ name: "crashing", image: crashing, envVars: env });
    const id = files.idOf("crashing");
    writeFileSync(marker, "");
    process.kill(files.pidOf(id), "SIGKILL");
    const status = await untilValue(platform.status, "crashing", (value) => (value?.problem?.failures ?? 0) >= 4);
    expect(status?.problem?.message).to.include("no more");
    const starts = platform.events
      .all()
      .filter(isReplica("starting", "crashing"))
      .map(({ atMs }) => atMs);
    const waits = starts.slice(1).map((atMs, at) => atMs - (starts[at] ?? 0));
    // At least the back-off, and on a busy machine the time of the start besides.
    for (const [at, waitMs] of waits.entries()) expect(waitMs, `start ${at + 2}`).to.be.at.least(200 * 2 ** at - 5);
    expect(Date.parse(status?.problem?.nextTryAt ?? "")).to.be.greaterThan(Date.parse(status?.problem?.at ?? ""));
    await platform.wish("remove", "crashing", {});
    await untilValue(platform.status, "crashing", (value) => value === undefined);
  });

  it("takes over what runs when it comes back, because nothing may run twice or be forgotten", async () => {
    await provider.leave();
    const before = files.folders();
    expect(textOf(await platform.call("echo", "alone"))).to.match(/^hi alone/);
    const [lost = ""] = files.idsOf("busy");
    process.kill(files.pidOf(lost), "SIGKILL");
    provider = await platform.openProvider();
    await untilValue(
      platform.status,
      "busy",
      (value) => value?.replicas.filter(({ state, id }) => state === "ready" && id !== lost).length === 2,
    );
    await untilValue(
      platform.status,
      "echo",
      (value) => value?.replicas.length === 1 && value.replicas[0]?.state === "ready",
    );
    expect(files.folders()).to.include.members(before.filter((id) => id !== lost));
    expect(files.folders()).to.have.length(before.length);
    const adopted = files.idOf("echo");
    process.kill(files.pidOf(adopted), "SIGKILL");
    const killedMs = performance.now();
    await platform.events.until("the exit of an adopted replica", isExitOf(adopted));
    expect(performance.now() - killedMs).to.be.lessThan(soonMs);
  });

  it("answers callers in whose replica's place it stood when it stops, because nobody else would", async () => {
    await platform.deploy({ name: "absent", image, envVars: env });
    await platform.functions.put(`absent.${namespace}`, { ...(await recordOf("absent")), replicas: 0 });
    await untilValue(platform.status, "absent", (value) => value?.replicas.length === 0);
    // Never ready: it waits for a file.
    const stuck = await platform.addBundle({
      "handler.mjs": "await new Promise((resolve) => setInterval(resolve, 1e9));\n",
    });
    const record = await recordOf("absent");
    await platform.functions.put(`absent.${namespace}`, {
      ...record,
      revision: "stuck",
      spec: { ...record.spec, image: stuck },
    });
    const client = await connectWatched(
      platform.nats,
      readFileSync(platform.nats.credsFile("invoke"), "utf8"),
      "_INBOX",
    );
    const reply = client.nc.request(`busker.invoke.${namespace}.absent`, "plain", { timeout: 10_000 });
    await platform.events.until("a start for the call", isReplica("starting", "absent"));
    await platform.wish("remove", "absent", {});
    await provider.leave();
    expect((await reply).headers?.get("Busker-Error")).to.equal("provider_unavailable");
    await client.close();
    provider = await platform.openProvider();
  });

  it("carries on a wish that another provider has begun, because it was accepted", async () => {
    const slow = await platform.addBundle({
      "handler.mjs": "await new Promise((done) => setTimeout(done, 1500));\nexport default async () => 'slow';\n",
    });
    const outcome = platform.deploy({ name: "handed-over", image: slow, envVars: env });
    await platform.events.until("its start", isReplica("starting", "handed-over"));
    await provider.leave();
    const before = files.idsOf("handed-over");
    provider = await platform.openProvider();
    expect((await outcome).subject).to.include(".deployed.");
    // None was started twice; the one that was may have had no folder yet when its provider left.
    const [id, ...others] = files.idsOf("handed-over");
    expect([others, before.filter((known) => known !== id)]).to.deep.equal([[], []]);
    expect(textOf(await platform.call("handed-over"))).to.equal("slow");
  });

  it("renews credentials before they end, and no call notices", async () => {
    await provider.leave();
    provider = await platform.openProvider({ ttlMs: 3000 });
    await platform.deploy({ name: "renewed", image, envVars: env });
    const id = files.idOf("renewed");
    const file = files.credentialsFile(id);
    const first = readFileSync(file, "utf8");
    const isDraining = isReplica("draining", "renewed");
    const answers: string[] = [];
    let going = true;
    const caller = (async () => {
      while (going) answers.push(textOf(await platform.call("renewed", "x")));
    })();
    const drained = await platform.events.until("the replica to go over to new credentials", isDraining);
    await platform.events.until(
      "its return",
      (event) => isReplica("ready", "renewed")(event) && event.atMs > drained.atMs,
    );
    going = false;
    await caller;
    expect(readFileSync(file, "utf8")).to.not.equal(first);
    expect(answers.filter((answer) => !/^x \d+$/.test(answer))).to.deep.equal([]);
    expect(files.idsOf("renewed")).to.deep.equal([id]);
    await platform.wish("remove", "renewed", {});
    await provider.leave();
    provider = await platform.openProvider();
  });

  it("frees the bundle of a function that was removed, and not one that is in use, because the disk is finite", async () => {
    const bundles = join(platform.nats.dataFolder, "bundles");
    const own = await platform.addBundle(handlerFiles("return 'only here'"));
    await platform.deploy({ name: "passing", image: own, envVars: env });
    const digest = own.slice(bundlePrefix.length);
    expect(readdirSync(bundles)).to.include(digest);
    await platform.wish("remove", "passing", {});
    const changes = watch(bundles, { signal: AbortSignal.timeout(10_000) });
    if (existsSync(join(bundles, digest))) for await (const _ of changes) if (!existsSync(join(bundles, digest))) break;
    expect(existsSync(join(bundles, digest))).to.equal(false);
    expect(readdirSync(bundles)).to.include(image.slice(bundlePrefix.length));
    expect(textOf(await platform.call("echo", "still"))).to.match(/^hi still/);
  });

  it("leaves no process and no folder when it stops", async () => {
    const markers = files.folders().map(files.markerOf);
    expect(markers.flatMap(findByEnvironment)).to.have.length.greaterThan(2);
    await provider.stop();
    expect(markers.flatMap(findByEnvironment)).to.deep.equal([]);
    expect(files.folders()).to.deep.equal([]);
    provider = await platform.openProvider();
    expect(textOf(await platform.call("echo", "back"))).to.match(/^hi back/);
  });
});
