import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { ensurePassword, prepareDataFolder } from "./data-folder.ts";
import { lockDataFolder, startTimeOf } from "./data-lock.ts";
import { host, takeFreePort } from "./free-port.ts";
import { createStopList } from "./stop-list.ts";

const want = { what: "the gateway", key: "BUSKER_PORT", patienceMs: 0 };

describe("the checks before a start", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "busker-up-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("lockDataFolder() refuses a folder that a living process holds, naming the process", () => {
    const { release, wasStale } = lockDataFolder(folder);
    expect(wasStale).to.equal(false);
    expect(() => lockDataFolder(folder)).to.throw(`runs on ${folder} already, as process ${process.pid}`);
    release();
    lockDataFolder(folder).release();
    expect(readdirSync(folder)).to.deep.equal([]);
  });

  it("lockDataFolder() ignores a lock whose process is gone, because kill -9 leaves it", async () => {
    const child = spawn(process.execPath, ["-e", "process.stdin.resume()"]);
    await once(child, "spawn");
    const holder = { pid: child.pid ?? 0, startedAt: startTimeOf(child.pid ?? 0) };
    writeFileSync(join(folder, "up.lock"), JSON.stringify(holder));
    expect(() => lockDataFolder(folder)).to.throw(`process ${holder.pid}`);
    child.kill("SIGKILL");
    await once(child, "exit");
    expect(lockDataFolder(folder).wasStale).to.equal(true);
  });

  const damaged = [JSON.stringify({ pid: process.pid, startedAt: "1" }), "", "{"];
  for (const text of damaged)
    it(`lockDataFolder() ignores a lock of ${JSON.stringify(text)}, because a process id comes back`, () => {
      writeFileSync(join(folder, "up.lock"), text);
      expect(lockDataFolder(folder).wasStale).to.equal(true);
    });

  it("takeFreePort() refuses a port in use, naming it and the variable, and takes it once it is free", async () => {
    const other = createServer().listen(0, host);
    await once(other, "listening");
    const { port } = other.address() as AddressInfo;
    const refused = await takeFreePort({ ...want, port }).catch((error: Error) => error.message);
    expect(refused).to.equal(
      `cannot start: the gateway needs port ${port} of 127.0.0.1, and another program listens there; set BUSKER_PORT to another`,
    );
    const patient = takeFreePort({ ...want, port, patienceMs: 10_000 });
    other.close();
    expect(await patient).to.equal(port);
    expect(await takeFreePort({ ...want, port: 0 })).to.be.greaterThan(0);
  });

  it("prepareDataFolder() makes it for its owner only, and says in one line when it cannot", () => {
    expect(statSync(prepareDataFolder(join(folder, "a/b"))).mode & 0o777).to.equal(0o700);
    writeFileSync(join(folder, "file"), "");
    expect(() => prepareDataFolder(join(folder, "file"))).to.throw(
      /^cannot start: the data folder .*file \(BUSKER_DATA\) cannot be written: [^\n]+$/,
    );
    expect(() => prepareDataFolder("/proc/busker")).to.throw(/cannot be written/);
  });

  it("ensurePassword() makes it once, in a file of its owner's, because it is shown only once", () => {
    const first = ensurePassword(folder);
    const file = join(folder, "secrets/basic-auth-password");
    expect([first.isNew, first.password.length >= 24, statSync(file).mode & 0o777]).to.deep.equal([true, true, 0o600]);
    expect(ensurePassword(folder)).to.deep.equal({ password: first.password, isNew: false });
    expect(readFileSync(join(folder, "secrets/basic-auth-user"), "utf8")).to.equal("admin");
  });
});

describe("createStopList()", () => {
  const part = (name: string, log: string[], stop: () => Promise<void> = async () => {}) => ({
    name,
    stop: async () => {
      log.push(`stop ${name}`);
      await stop();
    },
    kill: () => void log.push(`kill ${name}`),
  });

  it("stops in reverse order and goes on after one that fails, because the others must stop too", async () => {
    const log: string[] = [];
    const list = createStopList((line) => log.push(line));
    list.add(part("a", log));
    list.add(part("b", log, () => Promise.reject(new Error("stuck"))));
    expect(await list.stopAll(5000)).to.equal(true);
    expect(log.slice(0, 3)).to.deep.equal(["stop b", "could not stop b: stuck", "stop a"]);
  });

  it("kills all at the deadline, because nothing may be left behind", async () => {
    const log: string[] = [];
    const list = createStopList((line) => log.push(line));
    list.add(part("a", log));
    list.add(part("b", log, () => new Promise(() => {})));
    expect(await list.stopAll(20)).to.equal(false);
    expect(log.slice(-2)).to.deep.equal(["kill b", "kill a"]);
  });
});
