import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { expect } from "chai";
import { pullPolicyAnnotation } from "../schemas/annotations.ts";
import type { FunctionStatusRecord, ReplicaRecord } from "../schemas/function.ts";
import { defaultNamespace as namespace } from "../schemas/names.ts";
import { invokeReplicaSubject } from "../schemas/subjects.ts";
import type { CallResult } from "../services/bus/open-call.ts";
import { answerImage, startSwarmRig, type SwarmRig } from "../services/provider/fixtures/swarm-backend.ts";
import { createInbox } from "nats";
import { textOf, untilValue } from "../services/provider/fixtures/test-provider.ts";
import type { Provider } from "../services/provider/provider.ts";
import { createService, updateService } from "../services/provider/swarm/engine-calls.ts";
import { openNamespaceNetworks } from "../services/provider/swarm/namespace-network.ts";
import { canExecute } from "./support/can-execute.ts";
import { makeImage } from "./support/images.ts";
import { pushImage, registryUser, startTestRegistry } from "./support/registry.ts";
import { eventually } from "./support/platform.ts";

/*
 * Functions as services of Docker Swarm, on two engines in two network namespaces. The last test kills one of them.
 */

const startMs = 40_000;
const steadyMs = 20;

interface ServiceFacts {
  readonly ID: string;
  readonly Version: { readonly Index: number };
  readonly Spec: {
    readonly Name: string;
    readonly Mode: { readonly Replicated?: { readonly Replicas: number } };
    readonly TaskTemplate: {
      readonly Resources?: { readonly Limits?: { readonly NanoCPUs?: number; readonly MemoryBytes?: number } };
      readonly ContainerSpec?: { readonly Image?: string };
    };
    readonly EndpointSpec?: { readonly Mode?: string; readonly Ports?: unknown };
  };
}

/** Calls at a steady rate until it is told to end; gives what was not answered as wanted. */
const callSteadily = (call: () => Promise<CallResult>) => {
  const calls: Promise<CallResult>[] = [];
  const timer = setInterval(() => calls.push(call()), steadyMs);
  return async (): Promise<{ readonly made: number; readonly failed: readonly CallResult[] }> => {
    clearInterval(timer);
    const results = await Promise.all(calls);
    const isFine = (result: CallResult): boolean => result.kind === "answered" && result.reply.head.status === 200;
    return { made: results.length, failed: results.filter((result) => !isFine(result)) };
  };
};

describe("functions on Docker Swarm", function () {
  this.timeout(90_000);
  let rig: SwarmRig;
  let provider: Provider;
  let image: string;
  let executes: boolean;

  before(async () => {
    rig = await startSwarmRig({ baseImage: "answer:1" });
    image = await rig.addImage(answerImage);
    executes = await canExecute(rig.docker, image);
    provider = await rig.platform.openProvider({ backend: rig.backend });
  });
  after(async () => {
    await provider?.leave();
    await rig?.stop();
  });

  const deploy = (name: string, verb: string, more: object = {}, wish: "deploy" | "update" = "deploy") =>
    rig.platform.deploy({ name, image, envProcess: `sh answer.sh ${verb}`, ...more }, wish);
  const deployWell: typeof deploy = async (...words) => {
    const outcome = await deploy(...words);
    expect(outcome.subject, JSON.stringify(outcome.data)).to.match(/\.(deployed|updated)\./);
    return outcome;
  };
  const scale = (name: string, replicas: number) => rig.platform.wish("scale", name, { replicas });
  const until = (name: string, fits: (value: FunctionStatusRecord | undefined) => boolean) =>
    untilValue(rig.platform.status, name, fits, startMs);
  const readyOf = (value: FunctionStatusRecord | undefined): readonly ReplicaRecord[] =>
    (value?.replicas ?? []).filter(({ state }) => state === "ready");
  const untilReady = async (name: string, count: number): Promise<readonly ReplicaRecord[]> =>
    readyOf(await until(name, (value) => readyOf(value).length === count && value?.replicas.length === count));
  const nodesOf = (replicas: readonly ReplicaRecord[]): readonly string[] =>
    [...new Set(replicas.map(({ node = "" }) => node))].toSorted();
  // Nobody waits for the end of its replicas.
  const remove = async (name: string): Promise<void> => void (await rig.platform.wish("remove", name, {}));
  const serviceOf = async (name: string): Promise<ServiceFacts | undefined> => {
    const filters = { label: [`com.busker.function=${name}.${namespace}`] };
    return ((await rig.docker.listServices({ filters })) as unknown as readonly ServiceFacts[])[0];
  };
  const callReplica = async (name: string, id: string, body: string): Promise<string> =>
    (
      await rig.platform.bus.nc.request(invokeReplicaSubject(namespace, name, id), body, {
        // Where a replica may answer.
        reply: createInbox(),
        noMux: true,
        timeout: 10_000,
      })
    ).string();

  it("spreads replicas over both machines, each of which answers, and tells where they are", async () => {
    await deployWell("spread", "echo", { envVars: { max_inflight: "8" } });
    await scale("spread", 4);
    const replicas = await untilReady("spread", 4);
    expect(nodesOf(replicas)).to.deep.equal(rig.swarm.nodes.map(({ name }) => name));
    const answers = await Promise.all(replicas.map(({ id }) => callReplica("spread", id, id)));
    expect(answers).to.deep.equal(replicas.map(({ id }) => id));
  });

  it("moves them off a machine that is drained, without a failed call", async () => {
    const [stays, leaves] = rig.swarm.nodes;
    const stop = callSteadily(() => rig.platform.call("spread", "x", startMs));
    const setAvailability = async (Availability: "drain" | "active"): Promise<void> => {
      const nodes = (await rig.docker.listNodes()) as unknown as readonly {
        ID: string;
        Version: { Index: number };
        Spec: object;
        Description: { Hostname: string };
      }[];
      const node = nodes.find(({ Description }) => Description.Hostname === leaves.name);
      if (!node) throw new Error("the node is not there");
      await rig.docker.getNode(node.ID).update({ version: node.Version.Index, ...node.Spec, Availability });
    };
    await setAvailability("drain");
    await until(
      "spread",
      (value) => readyOf(value).length === 4 && nodesOf(value?.replicas ?? []).join() === stays.name,
    );
    const { made, failed } = await stop();
    await setAvailability("active");
    expect(made).to.be.greaterThan(50);
    expect(failed.map(textOf)).to.deep.equal([]);
    await remove("spread");
  });

  it("sets limits as they are written, opens no port and no virtual address, and tells an engine no word of the environment", async () => {
    await deployWell("limited", "echo", {
      limits: { cpu: "100m", memory: "64Mi" },
      envVars: { GREETING: "known to the function" },
    });
    const facts = await serviceOf("limited");
    expect(facts?.Spec.TaskTemplate.Resources?.Limits).to.include({ NanoCPUs: 100_000_000, MemoryBytes: 64 * 2 ** 20 });
    expect(facts?.Spec.EndpointSpec).to.deep.equal({ Mode: "dnsrr" });
    expect(JSON.stringify(facts)).not.to.include("known to the function");
    expect(textOf(await rig.platform.call("limited", "x"))).to.equal("known to the functionx");
    await remove("limited");
  });

  it("loses no call in an update of several replicas, one machine after the other", async function () {
    // An update goes on when a replica's health has been looked at.
    if (!executes) this.skip();
    await deployWell("rolling", "echo", { envVars: { GREETING: "1 ", max_inflight: "8" } });
    await scale("rolling", 3);
    await untilReady("rolling", 3);
    const stop = callSteadily(() => rig.platform.call("rolling", "x", startMs));
    const { data } = await deployWell("rolling", "echo", { envVars: { GREETING: "2 ", max_inflight: "8" } }, "update");
    const isNew = ({ revision }: ReplicaRecord): boolean => revision === data["wish"];
    await until("rolling", (value) => value?.replicas.length === 3 && readyOf(value).filter(isNew).length === 3);
    const { made, failed } = await stop();
    expect(made).to.be.greaterThan(50);
    expect(failed.map(textOf)).to.deep.equal([]);
    expect((await serviceOf("rolling"))?.Spec.Mode.Replicated?.Replicas).to.equal(3);
    await remove("rolling");
  });

  const failing: readonly (readonly [string, () => object | Promise<object>, RegExp])[] = [
    [
      "a constraint that no machine meets",
      () => ({ constraints: ["node.labels.disk == tape"] }),
      /no suitable node.*scheduling constraints not satisfied/,
    ],
    ["a constraint that is none", () => ({ constraints: ["node.labels.disk"] }), /constraint/],
    [
      "an image that there is not",
      () => ({ image: "nowhere/nothing:1" }),
      /image nowhere\/nothing:1 is not in the container engine/,
    ],
    [
      "an image that its machine has not",
      async () => {
        await makeImage(rig.docker, { ...answerImage, name: "half", changes: ["LABEL half=1"] });
        return { image: "half:1", constraints: [`node.hostname == ${rig.swarm.nodes[1].name}`] };
      },
      /[Nn]o such image/,
    ],
    ["more memory than any machine has", () => ({ requests: { memory: "10Ti" } }), /insufficient resources/],
  ];
  for (const [what, spec, message] of failing)
    it(`tells of ${what} in the deploy's outcome, in the engine's words, and leaves nothing`, async () => {
      const { data, subject } = await deploy("failing", "echo", await spec());
      expect(subject, JSON.stringify(data)).to.include(".failed.");
      expect(data["message"]).to.match(message);
      await until("failing", (value) => value === undefined);
      await eventually("its service is gone", async () => ((await serviceOf("failing")) ? undefined : true));
    });

  it("starts a replica that fails again and again later and later, and says why", async () => {
    const now = new Date().toISOString();
    // Not by a deploy, which would take it back at its first failure; nor by an update, which the engine would.
    await rig.platform.functions.put(`crashing.${namespace}`, {
      spec: { name: "crashing", namespace, image, envProcess: "/no/such/program" },
      revision: "w1",
      replicas: 1,
      createdAt: now,
      updatedAt: now,
    });
    const value = await until("crashing", (status) => (status?.problem?.failures ?? 0) >= 4);
    expect(value?.problem?.message).to.include("/no/such/program");
    // 200, 400, 800 and 1600 ms, whatever the engine does.
    const waitMs = Date.parse(value?.problem?.nextTryAt ?? "") - Date.parse(value?.problem?.at ?? "");
    expect(waitMs).to.be.within(1500, 8000);
    await remove("crashing");
  });

  it("keeps what worked when the engine takes an update back, and says why", async () => {
    await deployWell("kept", "echo");
    await untilReady("kept", 1);
    const entry = await rig.platform.functions.get(`kept.${namespace}`);
    if (!entry) throw new Error("the function is not there");
    const spec = { ...entry.value.spec, envProcess: "/no/such/program" };
    await rig.platform.functions.put(entry.key, { ...entry.value, spec, revision: "broken" });
    const value = await until("kept", (status) => status?.problem !== undefined && status.replicas.length === 1);
    expect(value?.problem?.message).to.include("/no/such/program");
    expect(textOf(await rig.platform.call("kept", "still"))).to.equal("still");
    await scale("kept", 2);
    await untilReady("kept", 2);
    await remove("kept");
  });

  it("heals what somebody else does to its services, and touches no other", async () => {
    const foreign = await createService(rig.docker, {
      Name: "foreign",
      Labels: { "com.openfaas.function": "mine", function: "true" },
      TaskTemplate: { ContainerSpec: { Image: "nowhere/nothing:1" } },
      Mode: { Replicated: { Replicas: 0 } },
    });
    await deployWell("healed", "echo");
    const before = await serviceOf("healed");
    await rig.docker.getService(before?.ID ?? "").remove();
    const again = await eventually(
      "the service is back",
      async () => {
        const now = await serviceOf("healed");
        return now && now.ID !== before?.ID ? now : undefined;
      },
      startMs,
    );
    await untilReady("healed", 1);
    const now = await serviceOf("healed");
    if (!now) throw new Error("the service is not there");
    await updateService(rig.docker, now, { ...again.Spec, Mode: { Replicated: { Replicas: 3 } } });
    await eventually(
      "the count is back",
      async () => ((await serviceOf("healed"))?.Spec.Mode.Replicated?.Replicas === 1 ? true : undefined),
      startMs,
    );
    await remove("healed");
    await rig.docker.getService(foreign).remove();
  });

  it("leaves a function to the image that it was deployed with, though the tag has moved, when a provider comes back", async () => {
    const moving = { ...answerImage, name: "moving" };
    await rig.addImage(moving);
    await deployWell("moving", "echo", { image: "moving:1" });
    await untilReady("moving", 1);
    const imageOf = async () => (await serviceOf("moving"))?.Spec.TaskTemplate.ContainerSpec?.Image;
    const before = await imageOf();
    await provider.leave();
    await rig.addImage({ ...moving, changes: [...(moving.changes ?? []), "LABEL moved=1"] });
    provider = await rig.platform.openProvider({ backend: rig.backend });
    // What the provider has to do to the service at its start, it has done before it does this.
    await scale("moving", 2);
    await untilReady("moving", 2);
    expect(await imageOf()).to.equal(before);
    await remove("moving");
  });

  it("uses the overlay network that it is told to, refuses any other, and removes none that is not its own", async () => {
    const made = await rig.docker.createNetwork({ Name: "given", Driver: "overlay", Attachable: true });
    const networksOf = (given: string | undefined) => openNamespaceNetworks(rig.docker, "someotherid", given);
    const reasonOf = (given: string): Promise<string> =>
      networksOf(given)
        .hold("ns")
        .then(() => "held", String);
    expect((await networksOf("given").hold("ns")).id).to.equal(made.id);
    expect(await reasonOf("bridge")).to.include("bridge is a network of one engine");
    expect(await reasonOf("nowhere")).to.include("nowhere is no network");
    const own = networksOf(undefined);
    const held = await own.hold("ns");
    await own.collect(new Set());
    expect((await own.hold("ns")).id, "a network that is held").to.equal(held.id);
    await networksOf(undefined).collect(new Set());
    const names = (await rig.docker.listNetworks()).map(({ Name }) => Name);
    expect(names).to.include("given").and.not.include("busker-someotherid-ns");
    await made.remove();
  });

  it("runs a folder on both machines, in its own folder, and refuses one that cannot fit", async () => {
    const folder = await rig.platform.addBundle({ "where.sh": 'printf "%s: %s" "$PWD" "$(cat)"' });
    await deployWell("folder", "", { image: folder, envProcess: "sh where.sh" });
    await scale("folder", 2);
    const replicas = await untilReady("folder", 2);
    expect(nodesOf(replicas)).to.have.length(2);
    const answers = await Promise.all(replicas.map(({ id }) => callReplica("folder", id, id)));
    expect(answers).to.deep.equal(replicas.map(({ id }) => `/function: ${id}`));
    await remove("folder");
    const large = await rig.platform.addBundle({ large: randomBytes(2 ** 20).toString("hex") });
    const { data } = await deploy("folder", "", { image: large, limits: { memory: "1Mi" } });
    expect(data["message"]).to.include("limits.memory 1Mi is too little for the bundle");
  });

  it("has an image of a registry on both machines, by its credentials, and the same though its tag moves", async () => {
    const registry = await startTestRegistry(true, rig.swarm.hostAddress);
    try {
      const auth = Buffer.from(`${registryUser.username}:${registryUser.password}`).toString("base64");
      const file = join(rig.platform.nats.dataFolder, "config.json");
      await writeFile(file, JSON.stringify({ auths: { [registry.host]: { auth } } }));
      const publish = async (greeting: string): Promise<void> => {
        await makeImage(rig.docker, {
          ...answerImage,
          name: "made",
          changes: ["WORKDIR /app", `ENV GREETING=${greeting}`],
        });
        await pushImage(rig.docker, { image: "made:1", registry, repository: "app", tag: "1" });
        await rig.docker.getImage("made:1").remove();
      };
      await publish("old");
      const annotations = { [pullPolicyAnnotation]: "IfNotPresent" };
      await deployWell("pulled", "echo", { image: `${registry.host}/app:1`, annotations });
      await publish("new");
      await scale("pulled", 4);
      const replicas = await untilReady("pulled", 4);
      expect(nodesOf(replicas)).to.have.length(2);
      const answers = await Promise.all(replicas.map(({ id }) => callReplica("pulled", id, "")));
      expect(answers).to.deep.equal(Array(4).fill("old"));
      const reference = (await serviceOf("pulled"))?.Spec.TaskTemplate.ContainerSpec?.Image;
      expect(reference).to.match(new RegExp(`^${registry.host}/app@sha256:`));
      await remove("pulled");
    } finally {
      await registry.remove();
    }
  });

  it("runs replicas on a machine that joins later, which gets the watchdog first", async () => {
    const third = await rig.swarm.addNode(["watchdog:1", image]);
    await deployWell("late", "echo", { constraints: [`node.hostname == ${third.name}`] });
    expect(nodesOf(await untilReady("late", 1))).to.deep.equal([third.name]);
    expect(textOf(await rig.platform.call("late", "at last"))).to.equal("at last");
    await remove("late");
    await third.kill();
    await eventually(
      "the swarm knows that it is gone",
      async () => {
        const nodes = (await rig.docker.listNodes()) as unknown as readonly { Status: { State: string } }[];
        return nodes.some(({ Status }) => Status.State === "down") ? true : undefined;
      },
      startMs,
    );
  });

  it("fails only the calls in a machine that dies, at once, and has its replicas on the other", async () => {
    await deployWell("mortal", "slow", { envVars: { max_inflight: "1" } });
    await scale("mortal", 4);
    const before = await untilReady("mortal", 4);
    const [, dying] = rig.swarm.nodes;
    const there = before.filter(({ node }) => node === dying.name).length;
    expect(there).to.equal(2);
    // One in each replica; more wait in line for a slot.
    const calls = Array.from({ length: 8 }, () => rig.platform.call("mortal", "", startMs));
    await pause(300);
    const killedMs = performance.now();
    const ends = calls.map(async (call) => ({ result: await call, afterMs: performance.now() - killedMs }));
    await dying.kill();
    const results = await Promise.all(ends);
    const lost = results.filter(({ result }) => result.kind === "failed");
    expect(lost.map(({ result }) => textOf(result).split(":")[0])).to.deep.equal(Array(there).fill("replica_lost"));
    expect(Math.max(...lost.map(({ afterMs }) => afterMs))).to.be.lessThan(8000);
    const after = await until("mortal", (value) => readyOf(value).length === 4 && nodesOf(readyOf(value)).length === 1);
    expect(nodesOf(readyOf(after))).to.deep.equal([rig.swarm.nodes[0].name]);
  });
});
