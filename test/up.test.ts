import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { text } from "node:stream/consumers";
import { expect } from "chai";
import { eventually, findProcesses, startTestPlatform, type TestPlatform } from "./support/platform.ts";

const root = resolve(import.meta.dirname, "..");
const main = join(root, "dist/services/cli/main.js");

/** Runs `busker` to its end. */
const runBusker = async (args: readonly string[], env: Readonly<Record<string, string>>) => {
  const free = {
    BUSKER_BACKEND: "process",
    BUSKER_PORT: "0",
    BUSKER_METRICS_PORT: "0",
    BUSKER_QUEUE_METRICS_PORT: "0",
    BUSKER_SCALER_METRICS_PORT: "0",
    BUSKER_NATS_PORT: "0",
  };
  const child = spawn(process.execPath, [main, ...args], {
    cwd: root,
    env: { ...process.env, ...free, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")]);
  return { code: child.exitCode, stdout, stderr };
};

/** Every process that works on a data folder, the supervisor included. */
const processesOf = (dataFolder: string): number[] =>
  findProcesses((commandLine, environment) => `${commandLine} ${environment}`.includes(dataFolder));

const pidOf = (platform: TestPlatform, what: string): number => {
  const [pid] = platform.pids(what);
  if (pid === undefined) throw new Error(`no ${what} runs`);
  return pid;
};

describe("busker up", function () {
  this.timeout(60_000);
  let dataFolder: string;
  let platform: TestPlatform | undefined;
  const start = async (...args: string[]): Promise<TestPlatform> => {
    platform = await startTestPlatform({ BUSKER_DATA: dataFolder }, args);
    return platform;
  };
  const callWordcount = async ({ url }: TestPlatform): Promise<string> =>
    (await fetch(`${url}/function/wordcount`, { method: "POST", body: "a b\n" })).text();

  beforeEach(() => {
    dataFolder = mkdtempSync(join(tmpdir(), "busker-up-"));
  });
  afterEach(async () => {
    await platform?.stop();
    platform = undefined;
    rmSync(dataFolder, { recursive: true, force: true });
  });

  it("deploys and calls the sample, shows the password once, and ends with a line that starts with ready", async () => {
    const first = await start();
    const file = join(dataFolder, "secrets/basic-auth-password");
    const password = readFileSync(file, "utf8");
    expect(first.output()).to.match(/2 lines, 6 words, 35 bytes\n[^]*\nready in [\d.]+ s[^\n]*$/m);
    expect([first.output().includes(password), statSync(file).mode & 0o777]).to.deep.equal([true, 0o600]);
    expect(existsSync(join(dataFolder, "creds/invoke.creds"))).to.equal(true);
    await first.stop();
    const second = await start();
    expect(second.output()).to.include("2 lines, 6 words, 35 bytes");
    expect(second.output()).not.to.include(password);
  });

  it("leaves no process behind after SIGTERM, and exits 0", async () => {
    const running = await start();
    expect(running.pids("watchdog.mjs")).to.have.length(1);
    const code = await running.stop();
    expect([code, processesOf(dataFolder)]).to.deep.equal([0, []]);
  });

  it("leaves no process behind when the provider was killed just before, because somebody must end its replicas", async () => {
    const running = await start();
    process.kill(pidOf(running, "provider/main.js"), "SIGKILL");
    await running.stop();
    expect(processesOf(dataFolder)).to.deep.equal([]);
  });

  it("ends everything at once on a second signal", async () => {
    const running = await start();
    const exited = once(running.process, "exit");
    running.process.kill("SIGINT");
    running.process.kill("SIGINT");
    const again = setInterval(() => running.process.kill("SIGINT"), 5);
    await exited;
    clearInterval(again);
    await eventually("no process is left", () => (processesOf(dataFolder).length === 0 ? true : undefined));
  });

  for (const [what, part] of [
    ["the gateway", "gateway/main.js"],
    ["the provider", "provider/main.js"],
    ["nats-server", "nats-server"],
  ] as const)
    it(`starts ${what} again when it is killed, and calls are answered again`, async () => {
      const running = await start();
      const before = pidOf(running, part);
      process.kill(before, "SIGKILL");
      await eventually(`${what} is back`, () => running.pids(part).find((pid) => pid !== before), 20_000);
      const answer = await eventually(
        "an answer",
        async () => (await callWordcount(running).catch(() => "")).match(/1 lines/)?.[0],
        20_000,
      );
      expect(answer).to.equal("1 lines");
      expect(running.output()).to.match(/ended.*starting it again in 100 ms/);
    });

  it("starts again on what a killed platform has left, with the same functions and no second copy of anything", async () => {
    const first = await start();
    const exited = once(first.process, "exit");
    first.process.kill("SIGKILL");
    await exited;
    const second = await start();
    expect(await callWordcount(second)).to.match(/1 lines/);
    await eventually("one replica", () => (second.pids("watchdog.mjs").length === 1 ? true : undefined));
    const services = ["nats.conf", "provider/main.js", "queue-worker/main.js", "gateway/main.js"];
    expect(services.map((part) => second.pids(part).length)).to.deep.equal([1, 1, 1, 1]);
  });

  it("refuses a second start on the same data folder in one line that names the process", async () => {
    const running = await start("--no-sample");
    const { code, stderr } = await runBusker(["up"], { BUSKER_DATA: dataFolder });
    expect([code, stderr]).to.deep.equal([
      1,
      `busker: cannot start: \`busker up\` runs on ${dataFolder} already, as process ${running.process.pid}\n`,
    ]);
  });

  const portKeys = [
    "BUSKER_PORT",
    "BUSKER_METRICS_PORT",
    "BUSKER_QUEUE_METRICS_PORT",
    "BUSKER_SCALER_METRICS_PORT",
    "BUSKER_NATS_PORT",
  ];
  for (const key of portKeys)
    it(`says in one line that the port of ${key} is in use, exits 1 and leaves nothing running`, async () => {
      const other = createServer().listen(0, "127.0.0.1");
      await once(other, "listening");
      const { port } = other.address() as AddressInfo;
      const { code, stderr } = await runBusker(["up"], { BUSKER_DATA: dataFolder, [key]: String(port) });
      other.close();
      expect([code, stderr.split("\n").length, stderr.includes(String(port)), stderr.includes(key)]).to.deep.equal([
        1,
        2,
        true,
        true,
      ]);
      expect(processesOf(dataFolder)).to.deep.equal([]);
    });

  const refusals = [
    { why: "an unwritable data folder", env: { BUSKER_DATA: "/proc/busker" }, says: "cannot be written" },
    { why: "a port that is no number", env: { BUSKER_PORT: "http" }, says: "BUSKER_PORT must be a whole number" },
    {
      why: "swarm without an address that nodes reach",
      env: { BUSKER_BACKEND: "swarm" },
      says: "needs BUSKER_NATS_HOST",
    },
    {
      why: "docker without an engine",
      env: { BUSKER_BACKEND: "docker", DOCKER_HOST: "unix:///nowhere/docker.sock" },
      says: "needs an engine on this machine: connect ENOENT /nowhere/docker.sock",
    },
  ];
  for (const { why, env, says } of refusals)
    it(`refuses ${why} in one line with exit code 1`, async () => {
      const { code, stderr } = await runBusker(["up"], { BUSKER_DATA: dataFolder, ...env });
      expect([code, stderr.split("\n").length, stderr.includes(says)]).to.deep.equal([1, 2, true]);
    });

  it("says that Node.js is too old in one line, before it loads anything else", async () => {
    const fake = join(dataFolder, "old.mjs");
    writeFileSync(fake, 'Object.defineProperty(process.versions, "node", { value: "18.20.4" });');
    const child = spawn(process.execPath, [`--import=${fake}`, main, "up"], { stdio: ["ignore", "ignore", "pipe"] });
    const [stderr] = await Promise.all([text(child.stderr), once(child, "exit")]);
    expect([child.exitCode, stderr]).to.deep.equal([
      1,
      "busker: cannot start: Node.js 20.18 or newer is needed; this is 18.20.4\n",
    ]);
  });
});
