import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { expect } from "chai";
import { eventually } from "../../test/support/platform.ts";
import { stateOf, ticksOf } from "./fixtures/frozen.ts";
import { continueProcesses, killProcesses, pauseProcesses } from "./pause-processes.ts";
import { findByEnvironment, signalProcess } from "./process-identity.ts";

describe("pauseProcesses()", function () {
  this.timeout(60_000);
  const line = `BUSKER_PAUSE_TEST=${process.pid}`;
  const start = (script: string): ChildProcess =>
    spawn("sh", ["-c", script], {
      env: { PATH: process.env["PATH"], BUSKER_PAUSE_TEST: String(process.pid) },
      detached: true,
      stdio: "ignore",
    });
  const pidOf = (child: ChildProcess): number => {
    if (child.pid === undefined) throw new Error("it did not start");
    return child.pid;
  };

  // A process that runs on another core learns of its signal a moment later.
  const untilStopped = (pids: readonly number[]): Promise<true> =>
    eventually("all to be stopped", () => (pids.every((pid) => stateOf(pid) === "T") ? true : undefined));

  afterEach(() => {
    for (const pid of findByEnvironment(line)) signalProcess(pid, "SIGKILL");
  });

  it("leaves nobody running of a tree that forks all the time, because who is forked meanwhile would stay", async () => {
    for (let round = 0; round < 10; round += 1) {
      const root = start("while :; do (true & (true &)); done & while :; do (:); done");
      await eventually("its first children", () => (findByEnvironment(line).length > 1 ? true : undefined));
      const stopped = pauseProcesses(pidOf(root), line);
      const left = findByEnvironment(line);
      await untilStopped(left);
      const before = left.map(ticksOf);
      continueProcesses(stopped);
      await eventually("it to go on", () =>
        left.some((pid, at) => ticksOf(pid) > (before[at] ?? 0)) ? true : undefined,
      );
      const exited = once(root, "exit");
      killProcesses(pauseProcesses(pidOf(root), line));
      await exited;
      await eventually("all to be gone", () => (findByEnvironment(line).length === 0 ? true : undefined));
    }
  });

  it("gives nobody when there is nobody", () => {
    const gone = 2 ** 22 - 1;
    expect(pauseProcesses(gone, line)).to.deep.equal([]);
  });

  it("continues only whom it has stopped, because a number may be somebody else's by now", async () => {
    const root = start("while :; do :; done");
    const stopped = pauseProcesses(pidOf(root), line);
    continueProcesses(stopped.map((identity) => ({ ...identity, startTime: "1" })));
    killProcesses(stopped.map((identity) => ({ ...identity, startTime: "1" })));
    await untilStopped([pidOf(root)]);
    const exited = once(root, "exit");
    killProcesses(stopped);
    await exited;
  });
});
