import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect } from "chai";
import { findByEnvironment, identify, isAlive } from "./process-identity.ts";

describe("identify()", () => {
  it("tells a process from a later one with its number, because numbers come again", () => {
    const own = identify(process.pid);
    expect(own?.startTime).to.match(/^\d+$/);
    expect(isAlive({ pid: process.pid, startTime: own?.startTime ?? "" })).to.equal(true);
    expect(isAlive({ pid: process.pid, startTime: "1" })).to.equal(false);
  });

  it("takes a process that has ended for gone, a name with brackets or not", async () => {
    const child = spawn("sleep", ["60"], { argv0: "a) S (b" });
    await once(child, "spawn");
    const identity = identify(child.pid ?? 0);
    expect(identity && isAlive(identity)).to.equal(true);
    child.kill("SIGKILL");
    await once(child, "exit");
    expect(identity && isAlive(identity)).to.equal(false);
  });
});

describe("findByEnvironment()", () => {
  it("finds what was started with a line, whatever its parent and session are", async () => {
    const line = `BUSKER_TEST=${process.pid}-${Date.now()}`;
    const [key = "", value = ""] = line.split("=");
    const child = spawn("sleep", ["60"], { env: { ...process.env, [key]: value }, detached: true });
    await once(child, "spawn");
    expect(findByEnvironment(line)).to.deep.equal([child.pid]);
    expect(findByEnvironment(line.slice(0, -1))).to.deep.equal([]);
    child.kill("SIGKILL");
    await once(child, "exit");
    expect(findByEnvironment(line)).to.deep.equal([]);
  });
});
