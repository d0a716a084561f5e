import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { connect } from "nats";
import type { FunctionRecord } from "../../schemas/function.ts";
import { formatFunctionName } from "../../schemas/names.ts";
import { readCredentialsFile } from "../bus/credentials.ts";
import { startTestPlatform, type TestPlatform, textOf, untilValue } from "./fixtures/test-provider.ts";
import { findByEnvironment } from "./process-identity.ts";
import type { Provider } from "./provider.ts";

const namespace = "openfaas-fn";
const handler = (code: string) => ({ "handler.mjs": `export default async (event) => { ${code} };\n` });
const whoAmI = handler("return `${process.env.GREETING ?? ''}${event.body} ${process.pid}`");
const env = { mode: "handler" };

interface Launch {
  readonly replica: string;
  readonly name: string;
  readonly env: { readonly TMPDIR: string };
}

describe("openProvider()", function () {
  this.timeout(60_000);
  let platform: TestPlatform;
  let provider: Provider;
  let image: string;

  const replicaFolders = (): readonly string[] => readdirSync(join(platform.nats.dataFolder, "replicas"));
  const launches = (name: string): readonly Launch[] =>
    replicaFolders()
      .map((id) => JSON.parse(readFileSync(join(platform.nats.dataFolder, "replicas", id, "launch.json"), "utf8")) as Launch)
      .filter((launch) => launch.name === name);
  const recordOf = async (name: string): Promise<FunctionRecord> => {
    const entry = await platform.functions.get(`${name}.${namespace}`);
    if (!entry) throw new Error(`there is no ${name}`);
    return entry.value;
  };
  const pidOf = (id: string): number =>
    (JSON.parse(readFileSync(join(platform.nats.dataFolder, "replicas", id, "process.json"), "utf8")) as { pid: number }).pid;
  const isReplica = (state: string, name: string) => (event: { subject: string }) =>
    event.subject.startsWith(`busker.replica.${state}.${namespace}.${name}.`);
  const exited = (id: string) => (event: { subject: string }) => event.subject.endsWith(`.${id}`) && event.subject.includes(".exited.");

  before(async () => {
    platform = await startTestPlatform();
    provider = await platform.openProvider();
    image = await platform.addBundle(whoAmI);
  });
  after(async () => {
    await provider?.stop();
    await platform?.stop();
  });

  it("deploys a bundle that then answers, because that is its job", async () => {
    const outcome = await platform.deploy({ name: "echo", image, envVars: { ...env, GREETING: "hi " } });
    expect(outcome.subject, JSON.stringify(outcome.data)).to.equal("busker.function.deployed.openfaas-fn.echo");
    expect(outcome.data).to.include({ replicas: 1, availableReplicas: 1 });
    expect(textOf(await platform.call("echo", "there"))).to.match(/^hi there \d+$/);
    const status = await untilValue(platform.status, "echo", (value) => value?.replicas[0]?.state === "ready");
    expect(status?.problem).to.equal(undefined);
  });

  it("takes a wish once though it comes twice, because it may be delivered again", async () => {
    const spec = { spec: { name: "twice", namespace, image, envVars: env } };
    const first = await platform.wish("deploy", "twice", spec, "wish-a");
    expect(first.subject).to.include(".deployed.");
    const [before] = launches("twice");
    const again = await platform.deploy({ name: "twice", image, envVars: env });
    expect(again.data).to.include({ verb: "deploy", code: "function_exists" });
    expect(launches("twice").map(({ replica }) => replica)).to.deep.equal([before?.replica]);
  });

  const refused: readonly (readonly [string, string, object, string, RegExp])[] = [
    ["an image", "deploy", { image: "nginx:latest" }, "unsupported", /bundle:sha256/],
    ["a bundle that is not there", "deploy", { image: `bundle:sha256:${"0".repeat(64)}` }, "invalid_request", /object store/],
    ["an unknown mode", "deploy", { envVars: { mode: "magic" } }, "invalid_request", /envVars.mode must be one of/],
    ["a mode without its command", "deploy", { envVars: {} }, "invalid_request", /envProcess must be a command/],
    ["a wrong memory limit", "deploy", { limits: { memory: "lots" } }, "invalid_request", /limits.memory/],
    ["a secret that is not there", "deploy", { secrets: ["api-key"] }, "invalid_request", /no secret "api-key"/],
    ["an unknown namespace", "deploy", { namespace: "elsewhere" }, "invalid_request", /namespace must be that of the subject/],
    ["a wrong label", "deploy", { labels: { "com.openfaas.scale.min": "-1" } }, "invalid_request", /scale.min must be a whole number/],
    ["a function that is not there", "update", {}, "function_not_found", /refused/],
    ["a function that is not there", "scale", { replicas: 2 }, "function_not_found", /refused/],
    ["a function that is not there", "remove", {}, "function_not_found", /refused/],
  ];
  for (const [what, verb, more, code, says] of refused)
    it(`refuses to ${verb} ${what} with ${code} and says why, because nobody else can`, async () => {
      const spec = { name: "refused", namespace, image, envVars: env, ...more };
      const data = verb === "deploy" || verb === "update" ? { spec } : more;
      const outcome = await platform.wish(verb as "deploy", "refused", data);
      expect(outcome.data).to.include({ verb, code });
      expect(outcome.data["message"]).to.match(says);
      expect(await platform.functions.get(formatFunctionName({ name: "refused", namespace }))).to.equal(undefined);
    });

  it("rolls a failing start back and says why, because a function that never ran is not deployed", async () => {
    const broken = await platform.addBundle({ "handler.mjs": "console.error('no database'); throw new Error('cannot begin');\n" });
    const outcome = await platform.deploy({ name: "broken", image: broken, envVars: env });
    expect(outcome.data).to.include({ code: "start_failed" });
    expect(outcome.data["message"]).to.include("cannot begin");
    expect(await platform.functions.get(`broken.${namespace}`)).to.equal(undefined);
    await untilValue(platform.status, "broken", (value) => value === undefined);
    expect(launches("broken")).to.deep.equal([]);
  });

  it("restores the old revision when the new one does not start, because it still works", async () => {
    await platform.deploy({ name: "keep", image, envVars: env });
    const before = launches("keep").map(({ replica }) => replica);
    const broken = await platform.addBundle({ "handler.mjs": "throw new Error('cannot begin');\n" });
    const outcome = await platform.deploy({ name: "keep", image: broken, envVars: env }, "update");
    expect(outcome.data).to.include({ code: "start_failed", verb: "update" });
    expect((await platform.functions.get(`keep.${namespace}`))?.value.spec.image).to.equal(image);
    expect(textOf(await platform.call("keep", "still"))).to.match(/^still \d+$/);
    expect(launches("keep").map(({ replica }) => replica)).to.include.members(before);
  });

  it("starts a function at zero for the first call, and once for many", async () => {
    await platform.deploy({ name: "sleepy", image, envVars: env });
    await platform.wish("scale", "sleepy", { replicas: 0 });
    await untilValue(platform.status, "sleepy", (value) => value?.replicas.length === 0);
    const answers = await Promise.all(Array.from({ length: 20 }, (_, at) => platform.call("sleepy", String(at))));
    expect(new Set(answers.map((answer) => textOf(answer).split(" ")[1])).size).to.equal(1);
    expect((await platform.functions.get(`sleepy.${namespace}`))?.value.replicas).to.equal(1);
  });

  it("stands in for absent replicas, because a plain client knows only the queue group", async () => {
    await platform.wish("scale", "sleepy", { replicas: 0 });
    await untilValue(platform.status, "sleepy", (value) => value?.replicas.length === 0);
    const client = await connect({ servers: platform.nats.url, authenticator: readCredentialsFile(platform.nats.credsFile("invoke")) });
    const reply = await client.request(`busker.invoke.${namespace}.sleepy`, "plain", { timeout: 5000 });
    expect(reply.string()).to.match(/^plain \d+$/);
    await client.close();
  });

  it("tells of a killed replica within 100 ms and replaces it, because callers fail on its word", async () => {
    const outcome = await platform.deploy({ name: "victim", image: await platform.addBundle(handler("if (event.body !== 'warm') await new Promise(() => {}); return 'warm'")), envVars: env });
    expect(outcome.subject).to.include(".deployed.");
    const [launch] = launches("victim");
    const id = launch?.replica ?? "";
    expect(textOf(await platform.call("victim", "warm"))).to.equal("warm");
    const answer = platform.call("victim");
    const killedMs = performance.now();
    process.kill(pidOf(id), "SIGKILL");
    expect(textOf(await answer)).to.match(/^replica_lost: .*SIGKILL/);
    expect(performance.now() - killedMs).to.be.lessThan(100);
    const event = await platform.events.until("its exit", exited(id));
    expect(event.data["reason"]).to.include("SIGKILL");
    await platform.events.until("its successor", (next) => isReplica("ready", "victim")(next) && !next.subject.endsWith(id));
    const status = await untilValue(platform.status, "victim", (value) => value?.replicas.some(({ state }) => state === "ready") ?? false);
    expect(status?.problem).to.include({ failures: 1 });
    await platform.wish("remove", "victim", {});
  });

  it("backs off from a crash loop and reports it, because restarting at once would only burn the machine", async () => {
    const marker = join(platform.nats.dataFolder, "crash");
    const crashing = await platform.addBundle({
      "handler.mjs": `import { existsSync } from "node:fs";\nif (existsSync(${JSON.stringify(marker)})) throw new Error("no more");\nexport default async () => "ok";\n`,
    });
    await platform.deploy({ name: "crashing", image: crashing, envVars: env });
    const [launch] = launches("crashing");
    writeFileSync(marker, "");
    process.kill(pidOf(launch?.replica ?? ""), "SIGKILL");
    const status = await untilValue(platform.status, "crashing", (value) => (value?.problem?.failures ?? 0) >= 4);
    expect(status?.problem?.message).to.include("no more");
    const starts = platform.events.all().filter(isReplica("starting", "crashing")).map(({ atMs }) => atMs);
    const waits = starts.slice(1).map((atMs, at) => atMs - (starts[at] ?? 0));
    expect(waits.at(-1)).to.be.greaterThan((waits.at(-2) ?? 0) * 1.4);
    expect(Date.parse(status?.problem?.nextTryAt ?? "")).to.be.greaterThan(Date.parse(status?.problem?.at ?? ""));
    await platform.wish("remove", "crashing", {});
    await untilValue(platform.status, "crashing", (value) => value === undefined);
  });

  it("loses no call in an update, because the old serves until the new is ready", async () => {
    await platform.deploy({ name: "busy", image, envVars: { ...env, GREETING: "old " }, labels: { "com.openfaas.scale.min": "2" } });
    let going = true;
    const answers: string[] = [];
    const callers = Array.from({ length: 8 }, async () => {
      while (going) answers.push(textOf(await platform.call("busy", "x")));
    });
    const outcome = await platform.deploy({ name: "busy", image, envVars: { ...env, GREETING: "new " }, labels: { "com.openfaas.scale.min": "2" } }, "update");
    expect(outcome.subject).to.include(".updated.");
    await untilValue(platform.status, "busy", (value) => value?.replicas.length === 2 && value.replicas.every(({ revision }) => revision === outcome.data["wish"]));
    going = false;
    await Promise.all(callers);
    expect(answers.filter((answer) => !/^(old|new) x \d+$/.test(answer))).to.deep.equal([]);
    expect(answers.at(-1)).to.match(/^new/);
  });

  it("scales up and down and cuts no call", async () => {
    const slow = await platform.addBundle(handler("await new Promise((done) => setTimeout(done, 300)); return 'done'"));
    await platform.deploy({ name: "elastic", image: slow, envVars: { ...env, max_inflight: "1" } });
    await platform.wish("scale", "elastic", { replicas: 3 });
    await untilValue(platform.status, "elastic", (value) => value?.replicas.filter(({ state }) => state === "ready").length === 3);
    const calls = Promise.all([platform.call("elastic"), platform.call("elastic"), platform.call("elastic")]);
    await platform.wish("scale", "elastic", { replicas: 1 });
    expect((await calls).map(textOf)).to.deep.equal(["done", "done", "done"]);
    await untilValue(platform.status, "elastic", (value) => value?.replicas.length === 1);
  });

  it("takes over what runs when it comes back, because nothing may run twice or be forgotten", async () => {
    await provider.leave();
    const before = replicaFolders();
    expect(textOf(await platform.call("echo", "alone"))).to.match(/^hi alone/);
    const [lost] = launches("busy");
    process.kill(pidOf(lost?.replica ?? ""), "SIGKILL");
    provider = await platform.openProvider();
    await untilValue(platform.status, "busy", (value) => value?.replicas.filter(({ state, id }) => state === "ready" && id !== lost?.replica).length === 2);
    await untilValue(platform.status, "echo", (value) => value?.replicas.length === 1 && value.replicas[0]?.state === "ready");
    expect(replicaFolders()).to.include.members(before.filter((id) => id !== lost?.replica));
    expect(replicaFolders()).to.have.length(before.length);
    const [adopted] = launches("echo");
    process.kill(pidOf(adopted?.replica ?? ""), "SIGKILL");
    const killedMs = performance.now();
    await platform.events.until("the exit of an adopted replica", exited(adopted?.replica ?? ""));
    expect(performance.now() - killedMs).to.be.lessThan(200);
  });

  it("answers callers in whose replica's place it stood when it stops, because nobody else would", async () => {
    await platform.deploy({ name: "absent", image, envVars: env });
    await platform.functions.put(`absent.${namespace}`, { ...(await recordOf("absent")), replicas: 0 });
    await untilValue(platform.status, "absent", (value) => value?.replicas.length === 0);
    // Never ready: it waits for a file.
    const stuck = await platform.addBundle({ "handler.mjs": "await new Promise((resolve) => setInterval(resolve, 1e9));\n" });
    const record = await recordOf("absent");
    await platform.functions.put(`absent.${namespace}`, { ...record, revision: "stuck", spec: { ...record.spec, image: stuck } });
    const client = await connect({ servers: platform.nats.url, authenticator: readCredentialsFile(platform.nats.credsFile("invoke")) });
    const reply = client.request(`busker.invoke.${namespace}.absent`, "plain", { timeout: 10_000 });
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
    const before = launches("handed-over").map(({ replica }) => replica);
    provider = await platform.openProvider();
    expect((await outcome).subject).to.include(".deployed.");
    expect(launches("handed-over").map(({ replica }) => replica)).to.deep.equal(before);
    expect(textOf(await platform.call("handed-over"))).to.equal("slow");
  });

  it("leaves no process and no folder when it stops", async () => {
    const markers = replicaFolders().map((id) => `TMPDIR=${join(platform.nats.dataFolder, "replicas", id, "tmp")}`);
    expect(markers.flatMap(findByEnvironment)).to.have.length.greaterThan(3);
    await provider.stop();
    expect(markers.flatMap(findByEnvironment)).to.deep.equal([]);
    expect(replicaFolders()).to.deep.equal([]);
    provider = await platform.openProvider();
    expect(textOf(await platform.call("echo", "back"))).to.match(/^hi back/);
  });
});
