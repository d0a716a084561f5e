import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { expect } from "chai";
import type { ReplicaLaunch } from "../schemas/launch.ts";
import { replicaOrderSubject } from "../schemas/subjects.ts";
import { openBus } from "../services/bus/connection.ts";
import { parseCredentials, publicKeyOf } from "../services/bus/credentials.ts";
import { mintFunctionUser, renewFunctionUser } from "../services/bus/mint.ts";
import { bundleWatchdog } from "../services/provider/fixtures/watchdog-bundle.ts";
import { eventually } from "./support/platform.ts";
import { startTestNats, type TestNats } from "./support/nats.ts";

/*
 * A watchdog that has its credentials in memory only, as in a container, and is stopped while they run out.
 */

describe("a replica with its credentials in memory", function () {
  this.timeout(60_000);
  let nats: TestNats;
  const children: ChildProcess[] = [];
  let watchdog: Awaited<ReturnType<typeof bundleWatchdog>>;

  before(async () => {
    nats = await startTestNats();
    watchdog = await bundleWatchdog();
  });
  afterEach(() => {
    for (const child of children.splice(0)) child.kill("SIGKILL");
  });
  after(async () => {
    await nats?.stop();
    await watchdog?.remove();
  });

  const start = async (ttlMs: number) => {
    const name = { namespace: "openfaas-fn", name: "held", replica: `held-${ttlMs}` };
    const credentials = await mintFunctionUser({ ...name, signer: nats.trust.signer, ttlMs });
    const launch: ReplicaLaunch = {
      ...name,
      revision: "test",
      natsUrl: nats.url,
      credentials,
      timeoutMs: 1000,
      cwd: nats.dataFolder,
      env: { mode: "serializing", fprocess: "cat", PATH: process.env["PATH"] ?? "" },
    };
    const bus = await openBus({ url: nats.url, credentialsFile: nats.credsFile("admin"), user: "admin", name: "test" });
    let isReady = false;
    bus.nc.subscribe(`busker.replica.ready.*.*.${name.replica}`, {
      callback: () => {
        isReady = true;
      },
    });
    await bus.nc.flush();
    const child = spawn(process.execPath, [watchdog.file, "-"], { stdio: ["pipe", "ignore", "pipe"] });
    children.push(child);
    child.stdin.end(JSON.stringify(launch));
    const words = text(child.stderr);
    const exited = once(child, "exit");
    await eventually("it is ready", () => (isReady ? true : undefined));
    const renew = async (): Promise<void> => {
      const key = publicKeyOf(parseCredentials(credentials).jwt);
      const jwt = await renewFunctionUser({ ...name, signer: nats.trust.signer, ttlMs: 60_000 }, key);
      bus.nc.publish(replicaOrderSubject(name.replica), JSON.stringify({ kind: "renew", jwt }));
      await bus.nc.flush();
    };
    const isGone = (): true | undefined => (child.exitCode === null ? undefined : true);
    return { child, bus, words, exited, renew, isGone, isReady: () => isReady, forget: () => (isReady = false) };
  };

  it("ends at once when it wakes and can never connect again, because it would try for ever", async () => {
    const { child, bus, words, exited } = await start(2000);
    child.kill("SIGSTOP");
    const endMs = Date.now() + 3000;
    await eventually("its credentials to run out", () => (Date.now() > endMs ? true : undefined));
    const startedMs = performance.now();
    child.kill("SIGCONT");
    expect(await exited).to.deep.equal([1, null]);
    expect(performance.now() - startedMs).to.be.lessThan(8000);
    expect(await words).to.match(/its credentials ran out and were not renewed/);
    await bus.close();
  });

  it("stays when it was sent new ones in time, though it read them only when it woke", async () => {
    const { child, bus, exited, renew, isGone, isReady, forget } = await start(2500);
    child.kill("SIGSTOP");
    const endMs = Date.now() + 4000;
    await renew();
    await eventually("its credentials to run out", () => (Date.now() > endMs ? true : undefined));
    forget();
    child.kill("SIGCONT");
    await eventually("its return", () => (isReady() ? true : undefined));
    expect(isGone()).to.equal(undefined);
    child.kill("SIGTERM");
    await exited;
    await bus.close();
  });
});
