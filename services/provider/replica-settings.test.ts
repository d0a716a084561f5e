import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import type { LogLines } from "../../schemas/events.ts";
import { unknownScaleLabels } from "../../schemas/scale-labels.ts";
import { logSubject } from "../../schemas/subjects.ts";
import { findCpuLimits } from "./cpu-groups.ts";
import { handlerFiles, isExitOf, openReplicaFiles, type ReplicaFiles } from "./fixtures/replica-files.ts";
import { startTestPlatform, type TestPlatform, textOf, untilValue } from "./fixtures/test-provider.ts";
import type { Provider } from "./provider.ts";

const namespace = "openfaas-fn";
const env = { mode: "handler" };

// Works for a second and answers how many seconds of CPU it got.
const busy = handlerFiles(
  "const before = process.cpuUsage(); const end = Date.now() + 1000; while (Date.now() < end); " +
    "const { user, system } = process.cpuUsage(before); return String((user + system) / 1e6)",
);

const server = `require("node:http").createServer((request, response) => {
  if (!request.url.startsWith("/_/")) console.log("served");
  response.end("ok");
}).listen(process.env.PORT, "127.0.0.1");\n`;

describe("what a function's spec sets", function () {
  this.timeout(60_000);
  const limits = findCpuLimits();
  let platform: TestPlatform;
  let provider: Provider;
  let files: ReplicaFiles;

  before(async () => {
    platform = await startTestPlatform();
    provider = await platform.openProvider();
    files = openReplicaFiles(platform.nats.dataFolder);
  });
  after(async () => {
    await provider?.stop();
    await platform?.stop();
  });

  const groupOf = (id: string): string =>
    readFileSync(join(platform.nats.dataFolder, "replicas", id, "cgroup"), "utf8");

  const untilLogged = async (name: string, pattern: RegExp): Promise<readonly string[]> => {
    const subject = logSubject(namespace, name, files.idOf(name));
    const event = await platform.events.until(
      `${String(pattern)} in the log of ${name}`,
      (heard) => heard.subject === subject && pattern.test(JSON.stringify(heard.data)),
    );
    // Whatever else has come in the same batch is not asked for.
    return (event.data as unknown as LogLines).lines.map(({ text }) => text).filter((text) => pattern.test(text));
  };

  /** Where no limit can be held, the function runs without one, and its status says so and why. */
  const expectUnlimited = async (why: string): Promise<void> => {
    const spec = { name: "unlimited", image: await platform.addBundle(busy), envVars: env, limits: { cpu: "1" } };
    const labels = { "com.openfaas.scale.maks": "3" };
    const outcome = await platform.deploy({ ...spec, labels });
    expect(outcome.subject, JSON.stringify(outcome.data)).to.match(/\.(deployed|updated)\./);
    const status = await untilValue(platform.status, "unlimited", (value) => value?.replicas[0]?.state === "ready");
    expect(status?.warnings).to.deep.equal([
      `limits.cpu 1 is not enforced: no cgroup can be made for a replica: ${why}`,
      ...unknownScaleLabels(labels),
    ]);
    expect(existsSync(join(platform.nats.dataFolder, "replicas", files.idOf("unlimited"), "cgroup"))).to.equal(false);
    await platform.wish("remove", "unlimited", {});
    await untilValue(platform.status, "unlimited", (value) => value === undefined);
  };

  it("prefix_logs=false leaves a line as it was written, because it may be JSON", async () => {
    const image = await platform.addBundle({ "log.sh": `echo '{"level":"info"}' >&2\n` });
    await platform.deploy({ name: "raw", image, envProcess: "sh log.sh", envVars: { prefix_logs: "false" } });
    await platform.call("raw");
    expect(await untilLogged("raw", /level/)).to.deep.equal(['{"level":"info"}']);
  });

  it("log_callid tells in mode http of each call how it ended, because a server's own lines name no call", async () => {
    const image = await platform.addBundle({ "server.cjs": server });
    const envVars = { mode: "http", log_callid: "true" };
    await platform.deploy({ name: "served", image, envProcess: `${process.execPath} server.cjs`, envVars });
    await platform.call("served");
    const [line] = await untilLogged("served", /200 \(/);
    expect(line).to.match(/^[\d/]{10} [\d:]{8} stderr: \[[0-9a-f-]{36}\] 200 \(\d\.\d{4}s\)$/);
  });

  it("limits.cpu bounds what a replica uses, and nothing of its group is left when it ends", async () => {
    if (limits.kind === "none") return expectUnlimited(limits.why);
    const image = await platform.addBundle(busy);
    const spec = { name: "busy", image, envVars: env, limits: { cpu: "200m" } };
    const outcome = await platform.deploy(spec);
    expect(outcome.subject, JSON.stringify(outcome.data)).to.include(".deployed.");
    expect(Number(textOf(await platform.call("busy")))).to.be.within(0.05, 0.4);
    const status = await untilValue(platform.status, "busy", (value) => value?.replicas[0]?.state === "ready");
    expect(status?.warnings).to.equal(undefined);
    const id = files.idOf("busy");
    const group = groupOf(id);
    expect(existsSync(group)).to.equal(true);
    await platform.wish("remove", "busy", {});
    await untilValue(platform.status, "busy", (value) => value === undefined);
    expect(existsSync(group)).to.equal(false);
    expect(files.folders()).to.not.include(id);
  });

  it("a killed replica's group goes with all that was in it, though a process of it hides", async () => {
    if (limits.kind === "none") return expectUnlimited(limits.why);
    // Neither in the replica's process groups nor with its marker: only its group tells of it.
    const hides = `env -i setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo "$!"\n`;
    const image = await platform.addBundle({ "hide.sh": hides });
    await platform.deploy({ name: "hides", image, envProcess: "sh hide.sh", limits: { cpu: "1" } });
    await platform.call("hides");
    const id = files.idOf("hides");
    const group = groupOf(id);
    expect(
      readFileSync(join(group, "replica", "cgroup.procs"), "utf8")
        .trim()
        .split("\n"),
    ).to.have.length.above(1);
    process.kill(files.pidOf(id), "SIGKILL");
    await platform.events.until("the end of hides", isExitOf(id));
    expect(existsSync(group)).to.equal(false);
    await platform.wish("remove", "hides", {});
  });

  it("the groups of replicas that ended while no provider was there are gone when one returns", async () => {
    if (limits.kind === "none") return expectUnlimited(limits.why);
    const image = await platform.addBundle(busy);
    await platform.deploy({ name: "left", image, envVars: env, limits: { cpu: "1" } });
    await platform.deploy({ name: "stays", image, envVars: env, limits: { cpu: "1" } });
    const [left, stays] = [files.idOf("left"), files.idOf("stays")];
    const [leftGroup, staysGroup] = [groupOf(left), groupOf(stays)];
    await provider.leave();
    process.kill(files.pidOf(left), "SIGKILL");
    provider = await platform.openProvider();
    expect([leftGroup, staysGroup].map((group) => existsSync(group))).to.deep.equal([false, true]);
    process.kill(files.pidOf(stays), "SIGKILL");
    await platform.events.until("the end of stays", isExitOf(stays));
    expect(existsSync(staysGroup)).to.equal(false);
    await platform.wish("remove", "left", {});
    await platform.wish("remove", "stays", {});
  });

  it("what is not done is in the status, and the deploy succeeds", async () => {
    await provider.leave();
    provider = await platform.openProvider({ cpuLimits: { kind: "none", why: "EROFS" } });
    const spec = { name: "warned", image: await platform.addBundle(busy), envVars: env };
    const outcome = await platform.deploy({ ...spec, limits: { cpu: "100m" }, readOnlyRootFilesystem: true });
    expect(outcome.subject).to.include(".deployed.");
    const status = await untilValue(platform.status, "warned", (value) => value?.replicas[0]?.state === "ready");
    expect(status?.warnings).to.have.length(2);
    expect(status?.warnings?.[0]).to.equal(
      "limits.cpu 100m is not enforced: no cgroup can be made for a replica: EROFS",
    );
    expect(Number(textOf(await platform.call("warned")))).to.be.above(0.2);
  });
});
