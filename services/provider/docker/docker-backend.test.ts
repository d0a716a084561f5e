import { expect } from "chai";
import { type DockerPlatform, startDockerPlatform } from "../fixtures/docker-backend.ts";
import { textOf, untilValue } from "../fixtures/test-provider.ts";
import type { HeardEvent } from "../fixtures/event-log.ts";
import { isExitOf } from "../fixtures/replica-files.ts";
import type { Provider } from "../provider.ts";

const namespace = "openfaas-fn";

describe("openDockerBackend()", function () {
  this.timeout(60_000);
  let docker: DockerPlatform;
  let provider: Provider;

  before(async function () {
    this.timeout(120_000);
    docker = await startDockerPlatform();
    provider = await docker.openProvider();
  });
  after(async function () {
    this.timeout(60_000);
    await provider?.stop();
    await docker?.stop();
  });

  type Spec = Parameters<DockerPlatform["platform"]["deploy"]>[0];
  const deploy = async (spec: Spec): Promise<HeardEvent> => {
    const outcome = await docker.platform.deploy(spec);
    expect(outcome.subject, JSON.stringify(outcome.data)).to.include(".deployed.");
    return outcome;
  };
  const remove = async (name: string): Promise<void> => {
    await docker.platform.wish("remove", name, {});
    await untilValue(docker.platform.status, name, (value) => value === undefined);
  };
  const call = async (name: string, body?: string): Promise<string> => textOf(await docker.platform.call(name, body));

  describe("a function of an image", () => {
    it("is deployed and answers", async () => {
      const { data } = await deploy({ name: "cat", image: "cat:1" });
      expect(data).to.include({ replicas: 1, availableReplicas: 1 });
      expect(await call("cat", "hello")).to.equal("hello");
      const status = await untilValue(docker.platform.status, "cat", (value) => value?.replicas[0]?.state === "ready");
      expect(status?.problem).to.equal(undefined);
    });

    it("is told from others by labels: its own, its annotations, and by whose replica it is", async () => {
      await deploy({ name: "labels", image: "cat:1", labels: { team: "blue" }, annotations: { topic: "t" } });
      const { Config, Name } = await (await docker.containerOf("labels")).inspect();
      const [id = ""] = await docker.untilReady("labels", 1);
      expect(Name).to.equal(`/${id}`);
      expect(Config.Labels).to.include({
        team: "blue",
        "com.openfaas.annotations.topic": "t",
        "com.openfaas.function": "labels",
        function: "true",
        "com.busker.platform": docker.id,
        "com.busker.function": `labels.${namespace}`,
        "com.busker.replica": id,
        "com.busker.timeout-ms": "60000",
      });
      await remove("labels");
    });

    it("runs without capabilities, new privileges and root, unless its image or its annotation says whom as", async () => {
      await deploy({ name: "status", image: "tools:1" });
      const status = await call("status");
      expect(status).to.match(/^Uid:\s12000\s/m);
      expect(status).to.match(/^Gid:\s12000\s/m);
      expect(status).to.match(/^CapEff:\s0+$/m);
      expect(status).to.match(/^CapBnd:\s0+$/m);
      expect(status).to.match(/^NoNewPrivs:\s1$/m);
      await deploy({ name: "user", image: "app-user:1" });
      expect(await call("user")).to.equal("1234\n");
      await deploy({ name: "root", image: "tools:1", annotations: { "com.busker.user": "image" } });
      expect(await call("root")).to.match(/^Uid:\s0\s[^]*^CapEff:\s0+$/m);
      await deploy({ name: "ids", image: "app-user:1", annotations: { "com.busker.user": "77:88" } });
      expect(await call("ids")).to.equal("77\n");
      await Promise.all(["status", "user", "root", "ids"].map(remove));
    });

    it("can write into /tmp and nowhere else with a read-only root", async () => {
      const spec = { image: "tools:1", envProcess: "/write", annotations: { "com.busker.user": "image" } };
      await deploy({ ...spec, name: "writable" });
      expect(await call("writable")).to.equal("/file yes\n/tmp/file no\n");
      await deploy({ ...spec, name: "read-only", readOnlyRootFilesystem: true });
      expect(await call("read-only")).to.equal("/file no\n/tmp/file yes\n");
      await Promise.all(["writable", "read-only"].map(remove));
    });

    it("has the limits and requests that it asks for, in the notation people write", async () => {
      const limits = { memory: "128Mi", cpu: "100m" };
      await deploy({ name: "limits", image: "cat:1", limits, requests: { memory: "64Mi", cpu: "0.5" } });
      const { HostConfig } = await (await docker.containerOf("limits")).inspect();
      expect(HostConfig).to.include({
        Memory: 128 * 2 ** 20,
        MemorySwap: 128 * 2 ** 20,
        MemoryReservation: 64 * 2 ** 20,
        NanoCpus: 100_000_000,
        CpuShares: 512,
        PidsLimit: 200,
      });
      expect(HostConfig.RestartPolicy?.Name).to.be.oneOf(["", "no"]);
      await remove("limits");
    });

    it("may have a limit above what the machine has, as anywhere, and then has what there is", async () => {
      await deploy({ name: "cores", image: "cat:1", limits: { cpu: "1000" } });
      const { HostConfig } = await (await docker.containerOf("cores")).inspect();
      const { NCPU } = (await docker.engine.docker.info()) as { readonly NCPU: number };
      expect(HostConfig.NanoCpus).to.equal(NCPU * 1e9);
      await remove("cores");
    });

    it("gets no more processor time than its limit", async () => {
      await deploy({ name: "spin", image: "tools:1", envProcess: "/spin", limits: { cpu: "200m" } });
      const began = performance.now();
      await call("spin");
      const container = await docker.containerOf("spin");
      const stats = (await container.stats({ stream: false })) as {
        cpu_stats: { throttling_data: { throttled_periods: number } };
      };
      expect(stats.cpu_stats.throttling_data.throttled_periods, `${performance.now() - began} ms`).to.be.greaterThan(3);
      await remove("spin");
    });

    it("gets no more processes than the limit", async () => {
      await deploy({ name: "fork", image: "tools:1", envProcess: "/fork" });
      await call("fork");
      const line = await docker.platform.events.until(
        "the shell to be refused a process",
        ({ subject, data }) =>
          subject.includes(".log.") && subject.includes(".fork.") && JSON.stringify(data).includes("fork"),
      );
      expect(JSON.stringify(line.data)).to.match(/can't fork: Resource temporarily unavailable/);
      await remove("fork");
    });

    it("runs a bundle too, in the base image and its own folder, which it cannot change", async () => {
      const image = await docker.platform.addBundle({
        "handler.mjs": `import { readFileSync, writeFileSync } from "node:fs";
          export default async ({ body }) => {
            try { writeFileSync("new", ""); } catch ({ code }) { return process.cwd() + " " + code + " " + readFileSync("data", "utf8") + body; }
          };`,
        data: "kept ",
      });
      await deploy({ name: "bundle", image, envVars: { mode: "handler" } });
      expect(await call("bundle", "and asked")).to.equal("/function EROFS kept and asked");
      const command = await docker.platform.addBundle({ "main.sh": "#!/bin/sh\ncat; pwd\n" });
      await deploy({ name: "command", image: command, envProcess: "./main.sh" });
      expect(await call("command", "in ")).to.equal("in /function\n");
      await Promise.all(["bundle", "command"].map(remove));
    });
  });

  describe("out of memory", () => {
    it("is told as such, with the limit, when a replica ends of it", async () => {
      await deploy({ name: "memory", image: "memory:1", limits: { memory: "128Mi" } });
      const [id = ""] = await docker.untilReady("memory", 1);
      expect(await call("memory", "200")).to.match(/^replica_lost: .*: out of memory: the limit is 128Mi$/);
      expect((await docker.platform.events.until("its exit", isExitOf(id))).data["reason"]).to.equal(
        "out of memory: the limit is 128Mi",
      );
      const status = await untilValue(docker.platform.status, "memory", (value) => value?.problem !== undefined);
      expect(status?.problem?.message).to.equal("out of memory: the limit is 128Mi");
      const [successor] = await docker.untilReady("memory", 1);
      expect(successor).to.not.equal(id);
      await remove("memory");
    });

    it("is a line in the function's log when it ends one call and not the replica", async () => {
      await deploy({ name: "eat", image: "tools:1", envProcess: "/eat", limits: { memory: "128Mi" } });
      const ids = await docker.untilReady("eat", 1);
      expect(await call("eat")).to.equal("the function failed: signal SIGKILL\n");
      const line = await docker.platform.events.until(
        "the line in its log",
        ({ subject, data }) => subject.endsWith(`.${ids[0]}`) && JSON.stringify(data).includes("out of memory"),
      );
      expect(JSON.stringify(line.data)).to.include(
        "[busker] a process of this replica was killed: out of memory; the limit is 128Mi",
      );
      expect(await docker.untilReady("eat", 1)).to.deep.equal(ids);
      await remove("eat");
    });
  });

  describe("a namespace's network", () => {
    it("lets replicas reach the bus and not each other's ports", async () => {
      await deploy({ name: "near", image: "network:1" });
      await deploy({ name: "far", image: "network:1" });
      const [near, far] = [await call("near", ":"), await call("far", ":")];
      expect(near)
        .to.match(/^[\d.]+$/)
        .and.not.equal(far);
      expect(await call("near", `${near}:9000`), "its own port").to.equal("connected");
      expect(await call("near", new URL(docker.natsUrl).host), "the bus").to.equal("connected");
      expect(await call("near", `${far}:9000`), "the other's port").to.equal("timed out");
      await Promise.all(["near", "far"].map(remove));
    });

    it("is made on demand, known as the platform's, and goes when nothing is in it", async () => {
      await docker.platform.wish("scale", "cat", { replicas: 1 });
      const name = `busker-${docker.id}-${namespace}`;
      const network = docker.engine.docker.getNetwork(name);
      const { Labels, Options } = (await network.inspect()) as Record<"Labels" | "Options", Record<string, string>>;
      expect(Labels).to.include({ "com.busker.platform": docker.id, "com.busker.namespace": namespace });
      expect(Options).to.include({ "com.docker.network.bridge.enable_icc": "false" });
      await remove("cat");
      await docker.backend().collect([]);
      const left = await docker.engine.docker.listNetworks({ filters: { type: ["custom"] } });
      expect(left.map(({ Name }) => Name)).to.deep.equal([docker.engine.network]);
    });

    it("is refused when somebody else has one of that name", async () => {
      const { docker: engine } = docker.engine;
      const network = await engine.createNetwork({ Name: `busker-${docker.id}-${namespace}`, Driver: "bridge" });
      const outcome = await docker.platform.deploy({ name: "cat", image: "cat:1" });
      expect(outcome.data["message"]).to.match(
        /could not make the network busker-\w+-openfaas-fn: network with name busker-\w+-openfaas-fn already exists$/,
      );
      await network.remove();
      await deploy({ name: "cat", image: "cat:1" });
    });
  });

  describe("what cannot run", () => {
    const refused: readonly (readonly [string, Spec, string, RegExp])[] = [
      [
        "an image that is not there",
        { name: "bad", image: "nowhere:9" },
        "invalid_request",
        /image nowhere:9 is not in the container engine, and its pull policy is Never/,
      ],
      [
        "a user that the image does not know",
        { name: "bad", image: "lost-user:1" },
        "start_failed",
        /^bad\.openfaas-fn did not start: the engine could not start a container: unable to find user nobody-at-all: no matching entries in passwd file$/,
      ],
      [
        "a command that is not there",
        { name: "bad", image: "no-program:1" },
        "start_failed",
        /cannot start the function's command "\/not\/there": not found/,
      ],
      [
        "less memory than an engine gives",
        { name: "bad", image: "cat:1", limits: { memory: "1Mi" } },
        "invalid_request",
        /Minimum memory limit allowed is \d+MB/,
      ],
      [
        "more memory requested than there may be",
        { name: "bad", image: "cat:1", limits: { memory: "64Mi" }, requests: { memory: "128Mi" } },
        "invalid_request",
        /Minimum memory limit can not be less than memory reservation limit/,
      ],
      [
        "less processor time than the kernel gives",
        { name: "bad", image: "cat:1", limits: { cpu: "5m" } },
        "invalid_request",
        /^limits\.cpu must be at least 10m where functions run in containers; got "5m"$/,
      ],
    ];
    for (const [what, spec, code, says] of refused)
      it(`is refused with the engine's reason, and nothing of it stays: ${what}`, async () => {
        const outcome = await docker.platform.deploy(spec);
        expect(outcome.data).to.include({ code });
        expect(outcome.data["message"]).to.match(says);
        expect(await docker.platform.functions.get(`bad.${namespace}`)).to.equal(undefined);
        await untilValue(docker.platform.status, "bad", (value) => value === undefined);
        await docker.untilNone("bad");
      });
  });

  describe("many replicas", () => {
    it("are started and drained, and lose no call by it", async () => {
      await deploy({ name: "many", image: "tools:1", envProcess: "/linger", envVars: { max_inflight: "1" } });
      await docker.platform.wish("scale", "many", { replicas: 20 });
      await docker.untilReady("many", 20);
      const callOne = async (at: number) => textOf(await docker.platform.call("many", String(at), 60_000));
      const answers = Promise.all(Array.from({ length: 20 }, (_, at) => callOne(at)));
      await docker.platform.wish("scale", "many", { replicas: 1 });
      expect(await answers).to.deep.equal(Array.from({ length: 20 }, (_, at) => String(at)));
      await docker.untilReady("many", 1);
      await remove("many");
      await docker.untilNone("many");
    });

    it("are replaced in an update, and no call is lost", async () => {
      const spec = { name: "rolling", image: "cat:1", labels: { "com.openfaas.scale.min": "2" } };
      await deploy(spec);
      await docker.untilReady("rolling", 2);
      let going = true;
      const answers: string[] = [];
      const callers = Array.from({ length: 4 }, async () => {
        while (going) answers.push(await call("rolling", "x"));
      });
      const outcome = await docker.platform.deploy({ ...spec, envVars: { NEW: "1" } }, "update");
      expect(outcome.subject).to.include(".updated.");
      await untilValue(
        docker.platform.status,
        "rolling",
        (value) =>
          value?.replicas.length === 2 && value.replicas.every(({ revision }) => revision === outcome.data["wish"]),
      );
      going = false;
      await Promise.all(callers);
      expect(answers.length).to.be.greaterThan(20);
      expect(answers.filter((answer) => answer !== "x")).to.deep.equal([]);
      await remove("rolling");
    });
  });

  describe("freeze and thaw", () => {
    it("take all processor time from a replica and give it back", async () => {
      await deploy({ name: "frozen", image: "cat:1" });
      const [id = ""] = await docker.untilReady("frozen", 1);
      const backend = docker.backend();
      await backend.freeze?.(id);
      const container = await docker.containerOf("frozen");
      await backend.freeze?.(id);
      expect((await container.inspect()).State.Paused).to.equal(true);
      await backend.freeze?.(id);
      await backend.thaw?.(id);
      await backend.thaw?.(id);
      expect((await container.inspect()).State.Paused).to.equal(false);
      await backend.thaw?.(id);
      expect(await call("frozen", "awake")).to.equal("awake");
    });

    it("let a frozen replica be stopped and killed", async () => {
      const [id = ""] = await docker.untilReady("frozen", 1);
      await docker.backend().freeze?.(id);
      docker.backend().kill(id);
      await docker.platform.events.until("its exit", isExitOf(id));
      const [next = ""] = await docker.untilReady("frozen", 1);
      await docker.backend().freeze?.(next);
      await remove("frozen");
      await docker.untilNone("frozen");
    });
  });
});
