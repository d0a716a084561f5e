import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { eventually } from "../../../test/support/platform.ts";
import { type DockerPlatform, startDockerPlatform } from "../fixtures/docker-backend.ts";
import { isExitOf } from "../fixtures/replica-files.ts";
import { textOf } from "../fixtures/test-provider.ts";
import type { Provider } from "../provider.ts";
import { idleProgram } from "./idle-program.ts";
import { holderLabel } from "./ready-networks.ts";
import { unlessGone } from "./unless-gone.ts";

describe("idleProgram()", () => {
  it("runs, does nothing, and ends when it is killed", async () => {
    const folder = mkdtempSync(join(tmpdir(), "busker-idle-"));
    const file = join(folder, "idle");
    writeFileSync(file, idleProgram(process.arch) ?? "", { mode: 0o755 });
    const child = spawn(file);
    await once(child, "spawn");
    // A program that the kernel refuses, or that runs into nowhere, has ended by itself long before.
    const exit = once(child, "exit");
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect([child.exitCode, child.signalCode]).to.deep.equal([null, null]);
    child.kill("SIGKILL");
    expect(await exit).to.deep.equal([null, "SIGKILL"]);
    rmSync(folder, { recursive: true });
  });

  it("gives none for a machine that it does not know", () => {
    expect(idleProgram("riscv64")).to.equal(undefined);
  });
});

describe("networks that are kept ready", function () {
  this.timeout(90_000);
  let docker: DockerPlatform;
  let provider: Provider;

  before(async function () {
    this.timeout(120_000);
    docker = await startDockerPlatform();
    provider = await docker.openProvider();
    await docker.platform.deploy({ name: "cat", image: "cat:1" });
    await untilKept(2);
  });
  after(async function () {
    this.timeout(60_000);
    await provider?.stop();
    await docker?.stop();
  });

  const holders = () => docker.engine.docker.listContainers({ all: true, filters: { label: [holderLabel] } });
  const usedBy = async (name: string): Promise<readonly string[]> =>
    (await docker.containersOf(name)).map(({ HostConfig }) => HostConfig.NetworkMode.replace("container:", ""));
  /** Waits until so many are ready for a replica. */
  const untilKept = (count: number): Promise<readonly string[]> =>
    eventually(
      `${count} holders`,
      async () => {
        const used = await usedBy("cat");
        const kept = (await holders()).filter(({ Id }) => !used.includes(Id));
        return kept.length === count && kept.every(({ State }) => State === "running")
          ? kept.map(({ Id }) => Id)
          : undefined;
      },
      30_000,
    );
  const networkOf = async (name: string): Promise<string> =>
    (await (await docker.containerOf(name)).inspect()).HostConfig.NetworkMode ?? "";
  /** A replica that was started in a network that was ready. */
  const wake = async (): Promise<string> => {
    await docker.platform.wish("scale", "cat", { replicas: 0 });
    await docker.untilNone("cat");
    await untilKept(2);
    expect(textOf(await docker.platform.call("cat", "hello"))).to.equal("hello");
    return (await networkOf("cat")).replace("container:", "");
  };

  it("a replica starts in one, has it for itself, and others are made ready", async () => {
    const before = await untilKept(2);
    const taken = await wake();
    expect((await holders()).map(({ Id }) => Id)).to.include(taken);
    expect(before).to.include(taken);
    expect(await untilKept(2)).to.not.include(taken);
  });

  it("one goes when its replica has ended", async () => {
    const taken = await wake();
    await docker.platform.wish("scale", "cat", { replicas: 0 });
    await docker.untilNone("cat");
    await eventually("the holder is gone", async () =>
      (await holders()).every(({ Id }) => Id !== taken) ? true : undefined,
    );
  });

  for (const [what, act] of [
    ["killed", (id: string) => docker.engine.docker.getContainer(id).kill()],
    ["removed", (id: string) => docker.engine.docker.getContainer(id).remove({ force: true })],
  ] as const)
    it(`a replica whose holder was ${what} is replaced, because it hears nobody any more`, async () => {
      const taken = await wake();
      const [id = ""] = await docker.untilReady("cat", 1);
      await act(taken);
      await docker.platform.events.until("its end", isExitOf(id));
      await docker.untilReady("cat", 1);
      expect(textOf(await docker.platform.call("cat", "again"))).to.equal("again");
    });

  it("those that are kept and were removed behind our back are not given to a replica", async () => {
    await docker.platform.wish("scale", "cat", { replicas: 0 });
    await docker.untilNone("cat");
    for (const id of await untilKept(2))
      await unlessGone(docker.engine.docker.getContainer(id).remove({ force: true }));
    expect(textOf(await docker.platform.call("cat", "hello"))).to.equal("hello");
  });

  it("a burst of starts takes what is kept, and none is made ready before it is over, because each would cost a start", async () => {
    await docker.platform.wish("scale", "cat", { replicas: 0 });
    await docker.untilNone("cat");
    // One that has failed before would be started a replica at a time.
    await docker.platform.deploy({ name: "many", image: "cat:1" });
    await docker.platform.wish("scale", "many", { replicas: 0 });
    await docker.untilNone("many");
    const kept = await untilKept(2);
    await docker.platform.wish("scale", "many", { replicas: 12 });
    await docker.untilReady("many", 12);
    const modes = (await docker.containersOf("many")).map(({ HostConfig }) => HostConfig.NetworkMode);
    const inHolders = modes.filter((mode) => mode.startsWith("container:"));
    expect(inHolders).to.include.members(kept.map((id) => `container:${id}`));
    // The last two starts are no burst any more.
    expect(inHolders.length).to.be.at.most(4);
    await docker.platform.wish("remove", "many", {});
    await docker.untilNone("many");
    await untilKept(2);
  });

  it("the next provider goes on with those that replicas have, and removes the others", async () => {
    const taken = await wake();
    const [id] = await docker.untilReady("cat", 1);
    await provider.leave();
    provider = await docker.openProvider();
    expect(await docker.untilReady("cat", 1)).to.deep.equal([id]);
    expect(await usedBy("cat")).to.deep.equal([taken]);
    expect(await untilKept(2)).to.not.include(taken);
    await docker.platform.wish("scale", "cat", { replicas: 0 });
    await docker.untilNone("cat");
    await eventually("the holder is gone", async () =>
      (await holders()).every(({ Id }) => Id !== taken) ? true : undefined,
    );
  });

  it("none is left when no function is, nor when the provider stops", async () => {
    await docker.platform.wish("remove", "cat", {});
    await untilKept(0);
    await docker.platform.deploy({ name: "cat", image: "cat:1" });
    await untilKept(2);
    await provider.stop();
    expect(await holders()).to.deep.equal([]);
    provider = await docker.openProvider();
  });
});
