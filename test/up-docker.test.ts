import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { startTestEngine, type TestEngine } from "./support/engine.ts";
import { busyboxFiles, makeImage } from "./support/images.ts";
import { eventually, startTestPlatform, type TestPlatform } from "./support/platform.ts";

/** The addresses on which somebody listens on a TCP port, of IPv4, and of IPv6 as the kernel writes them. */
const listenersOn = (port: number): readonly string[] =>
  ["tcp", "tcp6"].flatMap((kind) =>
    readFileSync(`/proc/net/${kind}`, "utf8")
      .split("\n")
      .map((line) => /^\s*\d+: ([0-9A-F]+):([0-9A-F]{4}) \S+ 0A /.exec(line))
      .filter((match) => match !== null && Number.parseInt(match[2] ?? "", 16) === port)
      .map((match) => {
        const address = match?.[1] ?? "";
        const bytes = Buffer.from(address, "hex");
        return kind === "tcp" ? bytes.reverse().join(".") : address;
      }),
  );

describe("busker up with a Docker engine", function () {
  this.timeout(180_000);
  let engine: TestEngine;
  let dataFolder: string;
  let platform: TestPlatform | undefined;

  const start = async (env: Readonly<Record<string, string>> = {}, ...args: string[]): Promise<TestPlatform> => {
    const where = { BUSKER_BACKEND: "auto", DOCKER_HOST: `unix://${engine.socket}`, BUSKER_DATA: dataFolder };
    platform = await startTestPlatform({ ...where, ...env }, args);
    return platform;
  };
  const containers = (all = true, label = "com.busker.replica") =>
    engine.docker.listContainers({ all, filters: { label: [label] } });
  const everyContainer = () => containers(true, "com.busker.platform");
  const networks = async (): Promise<readonly string[]> =>
    (await engine.docker.listNetworks({ filters: { label: ["com.busker.platform"] } })).map(({ Name }) => Name);
  const kill = async ({ process: child }: TestPlatform): Promise<void> => {
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
  };
  const count = (of: TestPlatform): Promise<string> =>
    of.invoke("wordcount", { method: "POST", body: "a b\n" }).then((response) => response.text());

  before(async () => {
    engine = await startTestEngine();
    await makeImage(engine.docker, { name: "test/busybox", files: busyboxFiles, changes: ["CMD cat"] });
  });
  after(() => engine?.stop());
  beforeEach(() => {
    dataFolder = mkdtempSync(join(tmpdir(), "busker-up-"));
  });
  afterEach(async () => {
    await platform?.stop();
    platform = undefined;
    rmSync(dataFolder, { recursive: true, force: true });
  });

  it("runs the sample in a container because an engine answers, and says so", async () => {
    const running = await start();
    expect(running.output()).to.match(/functions containers of Docker Engine \d[^]*2 lines, 6 words, 35 bytes/);
    expect(await count(running)).to.match(/1 lines, 2 words/);
    const [container] = await containers(false);
    expect(container?.Labels).to.include({ "com.openfaas.function": "wordcount", function: "true" });
    expect(running.pids("launch.json")).to.deep.equal([]);
  });

  it("runs an image that was never made for it", async () => {
    const running = await start({}, "--no-sample");
    const response = await running.api("POST", "/system/functions", { service: "cat", image: "test/busybox:1" });
    expect(response.status, await response.text()).to.equal(202);
    expect(await (await running.invoke("cat", { method: "POST", body: "meow" })).text()).to.equal("meow");
  });

  it("has nats-server listen on the loopback and the bridge's address, and nowhere else", async () => {
    const running = await start({}, "--no-sample");
    const { port } = new URL(running.natsUrl);
    const addresses = listenersOn(Number(port)).toSorted();
    expect(addresses).to.have.length(2);
    expect(addresses[0]).to.equal("127.0.0.1");
    expect(addresses[1]).to.match(/^(172|192\.168|10)\./);
  });

  it("leaves neither container nor network when it stops", async () => {
    const running = await start();
    expect([(await containers()).length, (await networks()).length > 0]).to.deep.equal([1, true]);
    expect(await running.stop()).to.equal(0);
    expect([await everyContainer(), await networks()]).to.deep.equal([[], []]);
  });

  it("leaves none either when the provider was killed just before", async () => {
    const running = await start();
    const [provider] = running.pids("provider/main.js");
    process.kill(provider ?? 0, "SIGKILL");
    await running.stop();
    expect([await everyContainer(), await networks()]).to.deep.equal([[], []]);
  });

  it("starts again after a platform that was killed, with one container of each function", async () => {
    await kill(await start());
    const again = await start();
    expect(await count(again)).to.match(/1 lines, 2 words/);
    // The killed platform's provider ends what it had in order.
    await eventually("one container", async () => ((await containers()).length === 1 ? true : undefined), 20_000);
    expect(await count(again)).to.match(/1 lines, 2 words/);
  });

  it("runs functions as processes when it is told to, and touches no engine", async () => {
    const running = await start({ BUSKER_BACKEND: "docker" }, "--backend", "process");
    expect(running.output()).to.match(/functions plain processes$/m);
    expect(await count(running)).to.match(/1 lines, 2 words/);
    expect([await everyContainer(), await networks()]).to.deep.equal([[], []]);
  });

  it("serves again when its network was pruned and the provider ended at that moment", async () => {
    const running = await start();
    const before = await networks();
    const [provider] = running.pids("provider/main.js");
    process.kill(provider ?? 0, "SIGSTOP");
    await engine.docker.pruneNetworks();
    expect(await networks()).to.have.length.below(before.length);
    process.kill(provider ?? 0, "SIGKILL");
    const answer = await eventually(
      "an answer",
      async () => (await count(running).catch(() => "")).match(/1 lines, 2 words/)?.[0],
      30_000,
    );
    expect(answer).to.equal("1 lines, 2 words");
    const scaled = await running.api("POST", "/system/scale-function/wordcount", { service: "wordcount", replicas: 2 });
    expect(scaled.status).to.equal(202);
    await eventually(
      "a second replica",
      async () => ((await containers(false)).length >= 2 ? true : undefined),
      30_000,
    );
    expect(await networks()).to.have.members([...before]);
  });

  it("serves again when the engine comes back, with functions it had", async () => {
    const running = await start();
    await engine.restart("SIGKILL");
    const answer = await eventually(
      "an answer",
      async () => (await count(running).catch(() => "")).match(/1 lines, 2 words/)?.[0],
      60_000,
    );
    expect(answer).to.equal("1 lines, 2 words");
  });
});
