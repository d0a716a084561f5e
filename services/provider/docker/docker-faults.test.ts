import { expect } from "chai";
import { eventually } from "../../../test/support/platform.ts";
import { type DockerPlatform, startDockerPlatform } from "../fixtures/docker-backend.ts";
import { isExitOf, isReplica } from "../fixtures/replica-files.ts";
import { silentLog } from "../../runtime/log.ts";
import { textOf } from "../fixtures/test-provider.ts";
import type { Provider } from "../provider.ts";
import { holderLabel } from "./ready-networks.ts";

describe("the docker backend in trouble", function () {
  this.timeout(90_000);
  let docker: DockerPlatform;
  let provider: Provider;

  before(async function () {
    this.timeout(120_000);
    docker = await startDockerPlatform();
    provider = await docker.openProvider();
    await docker.platform.deploy({ name: "cat", image: "cat:1", labels: { "com.openfaas.scale.min": "2" } });
    await docker.untilReady("cat", 2);
  });
  after(async function () {
    this.timeout(60_000);
    await provider?.stop();
    await docker?.stop();
  });

  const call = async (name: string, body?: string): Promise<string> => textOf(await docker.platform.call(name, body));
  const client = () => docker.engine.docker;
  const idsOf = async (name: string): Promise<readonly string[]> =>
    (await docker.containersOf(name)).map(({ Id }) => Id).toSorted();
  const isRunning = async (id: string): Promise<boolean> => (await client().getContainer(id).inspect()).State.Running;

  const ends: readonly (readonly [string, (id: string) => Promise<unknown>, RegExp | undefined])[] = [
    ["killed", (id) => client().getContainer(id).kill(), /^killed by SIGKILL$/],
    [
      "removed behind our back",
      (id) => client().getContainer(id).remove({ force: true }),
      /^(killed by SIGKILL|its container was removed)$/,
    ],
    // It is told as any other end in order.
    ["stopped behind our back", (id) => client().getContainer(id).stop(), undefined],
  ];
  for (const [what, act, says] of ends)
    it(`replaces a replica whose container was ${what}`, async () => {
      const [victim = ""] = await docker.untilReady("cat", 2);
      await act(victim);
      const { data } = await docker.platform.events.until("its exit", isExitOf(victim));
      if (says) expect(data["reason"]).to.match(says);
      expect(await docker.untilReady("cat", 2)).to.not.include(victim);
      expect(await call("cat", "again")).to.equal("again");
    });

  it("has a replica go on that somebody has paused, and leaves those paused that it has frozen", async () => {
    const [frozen = "", victim = ""] = await docker.untilReady("cat", 2);
    const isPaused = async (id: string): Promise<boolean> => (await client().getContainer(id).inspect()).State.Paused;
    await docker.backend().freeze?.(frozen);
    await client().getContainer(victim).pause();
    await eventually("it goes on", async () => ((await isPaused(victim)) ? undefined : true));
    expect(await isPaused(frozen)).to.equal(true);
    await docker.backend().thaw?.(frozen);
    expect(await docker.untilReady("cat", 2)).to.have.members([frozen, victim]);
  });

  /** The container with the network that a replica has: its own, or one that holds it. */
  const networkOf = async (id: string): Promise<{ readonly holder: string; readonly network: string }> => {
    const { HostConfig } = await client().getContainer(id).inspect();
    const holder = /^container:(.+)$/.exec(HostConfig.NetworkMode ?? "")?.[1] ?? id;
    const { NetworkSettings } = await client().getContainer(holder).inspect();
    return { holder, network: Object.keys(NetworkSettings.Networks)[0] ?? "" };
  };
  const disconnect = async (holder: string, network: string): Promise<void> =>
    void (await client().getNetwork(network).disconnect({ Container: holder, Force: true }));

  it("replaces a replica that somebody has disconnected from its network", async () => {
    // Of several that start together some have a network that was kept ready, and some make their own.
    await docker.backend().collect([]);
    await eventually("networks are kept ready", async () => {
      const filters = { label: [holderLabel] };
      return (await client().listContainers({ filters })).length >= 2 || undefined;
    });
    await docker.platform.deploy({ name: "net", image: "cat:1", labels: { "com.openfaas.scale.min": "5" } });
    const before = await docker.untilReady("net", 5);
    const places = await Promise.all(before.map(async (id) => ({ id, ...(await networkOf(id)) })));
    const own = places.find(({ id, holder }) => id === holder);
    const held = places.find(({ id, holder }) => id !== holder);
    for (const [place, reason] of [
      [own, "it was disconnected from its network"],
      [held, "its network was lost"],
    ] as const) {
      if (!place) throw new Error(`no replica for "${reason}": ${JSON.stringify(places)}`);
      await disconnect(place.holder, place.network);
      const { data } = await docker.platform.events.until("its exit", isExitOf(place.id), 30_000);
      expect(data["reason"]).to.equal(reason);
    }
    const after = await docker.untilReady("net", 5);
    expect(after).to.not.include.members([own?.id, held?.id]);
    await docker.platform.wish("remove", "net", {});
    await docker.untilNone("net");
  });

  it("tells of a killed replica at once, because callers fail on its word", async () => {
    await docker.platform.deploy({ name: "slow", image: "tools:1", envProcess: "/hang" });
    const [id = ""] = await docker.untilReady("slow", 1);
    const answer = call("slow");
    await docker.platform.events.until(
      "the call to be in it",
      ({ subject }) => subject.endsWith(`.slow.${id}`) && subject.includes(".log."),
    );
    const killedMs = performance.now();
    await client().getContainer(id).kill();
    expect(await answer).to.match(/^replica_lost: .*SIGKILL/);
    expect(performance.now() - killedMs).to.be.lessThan(8000);
    await docker.platform.wish("remove", "slow", {});
    await docker.untilNone("slow");
  });

  for (const signal of ["SIGTERM", "SIGKILL"] as const)
    it(`heals when the engine is restarted after ${signal}`, async () => {
      const before = await docker.untilReady("cat", 2);
      await docker.engine.restart(signal);
      await docker.platform.events.until("the end of the first", isExitOf(before[0] ?? ""), 30_000);
      await docker.platform.events.until("the end of the second", isExitOf(before[1] ?? ""), 30_000);
      const after = await docker.untilReady("cat", 2);
      expect(after).to.not.include.members([...before]);
      expect(await call("cat", signal)).to.equal(signal);
      await eventually("only those two are there", async () =>
        (await docker.containersOf("cat")).length === 2 ? true : undefined,
      );
    });

  describe("a provider that comes back", () => {
    it("takes over what runs, removes what does not, and touches nothing of others", async () => {
      const foreign = await client().createContainer({
        Image: "cat:1",
        name: "foreign",
        Labels: { "com.busker.platform": "0000000000" },
      });
      const before = await idsOf("cat");
      await provider.leave();
      expect(await call("cat", "alone")).to.equal("alone");
      const [victim = "", kept = ""] = before;
      await client().getContainer(victim).kill();
      // What a provider leaves that dies between creating a container and starting it.
      const { Config, HostConfig } = await client().getContainer(kept).inspect();
      const Labels = { ...Config.Labels, "com.busker.replica": "cat-half" };
      const half = await client().createContainer({ ...Config, HostConfig, Labels, name: "cat-half" });
      provider = await docker.openProvider();
      await docker.untilReady("cat", 2);
      const after = await idsOf("cat");
      expect(after).to.have.length(2).and.include(kept);
      expect(after).to.not.include.members([victim]).and.not.include(half.id);
      expect((await foreign.inspect()).State.Status).to.equal("created");
      await foreign.remove();
    });

    it("hears of the end of what it has taken over", async () => {
      await provider.leave();
      provider = await docker.openProvider();
      const [victim = ""] = await docker.untilReady("cat", 2);
      await client().getContainer(victim).kill();
      await docker.platform.events.until("its exit", isExitOf(victim));
      expect(await docker.untilReady("cat", 2)).to.not.include(victim);
    });

    it("lets what was told to stop finish its call", async () => {
      await docker.platform.deploy({
        name: "stuck",
        image: "tools:1",
        envProcess: "/linger",
        envVars: { exec_timeout: "30s" },
      });
      const container = await docker.containerOf("stuck");
      const answer = call("stuck", "last");
      await eventually("the call to be in it", async () => {
        const { Processes } = (await container.top()) as { Processes: string[][] };
        return Processes.some((fields) => fields.join(" ").includes("/linger")) || undefined;
      });
      await docker.platform.wish("scale", "stuck", { replicas: 0 });
      await eventually(
        "it is told to stop",
        async () => (await container.inspect()).Name.endsWith(".stopping") || undefined,
      );
      await provider.leave();
      const warnings: string[] = [];
      provider = await docker.openProvider({ log: { ...silentLog, warn: (message) => warnings.push(message) } });
      expect(await answer).to.equal("last");
      expect(warnings).to.deep.equal([]);
      await docker.untilNone("stuck");
      expect(docker.platform.events.all().filter(isReplica("starting", "stuck"))).to.have.length(1);
      await docker.platform.wish("remove", "stuck", {});
    });

    it("finds a frozen replica frozen", async () => {
      const [frozen = ""] = await docker.untilReady("cat", 2);
      await docker.backend().freeze?.(frozen);
      await provider.leave();
      const found: (readonly [string, boolean])[] = [];
      provider = await docker.openProvider({
        onAdopt: (replicas) => found.push(...replicas.map(({ id, frozen: isFrozen }) => [id, isFrozen] as const)),
      });
      expect(found.filter(([, isFrozen]) => isFrozen)).to.deep.equal([[frozen, true]]);
      // The two that are wished are awake.
      await docker.untilReady("cat", 2);
    });

    it("removes a container that got no launch, because its provider died in that moment", async () => {
      const [kept = ""] = await idsOf("cat");
      const { Config, HostConfig } = await client().getContainer(kept).inspect();
      await provider.leave();
      const Labels = { ...Config.Labels, "com.busker.replica": "cat-mute" };
      const mute = await client().createContainer({ ...Config, HostConfig, Labels, name: "cat-mute" });
      const input = await mute.attach({ stream: true, stdin: true, hijack: true });
      await mute.start();
      input.end();
      provider = await docker.openProvider();
      await eventually(
        "it is gone",
        async () =>
          isRunning(mute.id).then(
            () => undefined,
            () => true,
          ),
        20_000,
      );
      await docker.untilReady("cat", 2);
      expect(await idsOf("cat")).to.have.length(2);
    });
  });

  it("renews credentials over the bus before they end, and no call notices", async () => {
    await provider.leave();
    provider = await docker.openProvider({ ttlMs: 3000 });
    await docker.platform.deploy({ name: "renewed", image: "cat:1" });
    const ids = await docker.untilReady("renewed", 1);
    const answers: string[] = [];
    let going = true;
    const caller = (async () => {
      while (going) answers.push(await call("renewed", "x"));
    })();
    const drained = await docker.platform.events.until("the replica to go over", isReplica("draining", "renewed"));
    await docker.platform.events.until(
      "its return",
      (event) => isReplica("ready", "renewed")(event) && event.atMs > drained.atMs,
    );
    going = false;
    await caller;
    expect(answers.filter((answer) => answer !== "x")).to.deep.equal([]);
    expect(await docker.untilReady("renewed", 1)).to.deep.equal(ids);
    await docker.platform.wish("remove", "renewed", {});
    await docker.untilNone("renewed");
  });

  it("replaces a replica whose credentials ran out while no provider was there", async () => {
    await provider.leave();
    provider = await docker.openProvider({ ttlMs: 3000 });
    await docker.platform.deploy({ name: "expired", image: "cat:1" });
    const [id = ""] = await docker.untilReady("expired", 1);
    await provider.leave();
    const container = client().getContainer(id);
    await container.wait();
    provider = await docker.openProvider();
    expect(await docker.untilReady("expired", 1)).to.not.include(id);
    expect(await call("expired", "again")).to.equal("again");
    await docker.platform.wish("remove", "expired", {});
    await docker.untilNone("expired");
  });

  it("leaves no container when it stops", async () => {
    await provider.stop();
    expect(await client().listContainers({ all: true })).to.deep.equal([]);
    provider = await docker.openProvider();
    await docker.untilReady("cat", 2);
  });
});
