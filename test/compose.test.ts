import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import { expect } from "chai";
import { Parser } from "tar";
import { packFolder } from "../services/cli/pack-folder.ts";
import { takeFreePort } from "../services/cli/up/free-port.ts";
import { type TestEngine, startTestEngine } from "./support/engine.ts";
import { makeOwnImages, run } from "./support/own-images.ts";
import { eventually } from "./support/platform.ts";

const root = resolve(import.meta.dirname, "..");
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
// Of documentation and benchmarks (RFC 2544): nobody's own network.
const address = "198.18.77.1";
const project = "busker-images-test";

describe("images of our own", function () {
  this.timeout(180_000);
  let engine: TestEngine;
  let env: Readonly<Record<string, string>>;

  before(async () => {
    engine = await startTestEngine();
    env = await makeOwnImages(engine.docker, engine.socket);
  });
  after(() => engine?.stop());

  const docker = (...args: readonly string[]): Promise<string> => run("docker", args, env);

  describe("scripts/images", () => {
    it("makes all of them, without root and without anything of this folder's that is not program", async () => {
      const { Config } = await engine.docker.getImage(`busker:${version}`).inspect();
      expect(Config.User).to.equal("11000:11000");
      const list = "fs.readdirSync('/busker',{recursive:true}).join('\\n')";
      const files = (await docker("run", "--rm", "--network=none", "busker", "-p", list)).split("\n");
      expect(files).to.include.members(["dist/services/gateway/main.js", "dist/watchdog/watchdog.mjs"]);
      expect(
        files.filter((file) => /\.(seed|creds|key|ts)$|node_modules\/(mocha|typescript)$/.test(file)),
      ).to.deep.equal([]);
    });

    it("makes the same layers again, because unchanged images need not travel", async () => {
      const before = (await engine.docker.getImage("busker:latest").inspect()).RootFS.Layers;
      await run("scripts/images", [], { ...env, BUSKER_BASE: "node-base:1", BUSKER_NAME: "again" });
      expect((await engine.docker.getImage("again:latest").inspect()).RootFS.Layers).to.deep.equal(before);
    });

    it("makes a watchdog image that fills a volume with what its labels say", async () => {
      const { Config } = await engine.docker.getImage("busker-watchdog:latest").inspect();
      const wanted = Config.Labels["com.busker.watchdog.version"] ?? "";
      expect(Config.Labels["com.busker.watchdog.arch"]).to.equal(process.arch);
      const volume = ["--network=none", "-v", "watchdog:/target"];
      const fill = ["services/provider/fill-watchdog.js", "/target", "--version"];
      const told = await docker("run", "--rm", "--cap-drop=ALL", ...volume, "busker-watchdog", ...fill, wanted);
      expect(told).to.equal(`/target holds watchdog ${wanted} for ${process.arch}\n`);
      const again = await docker("run", "--rm", ...volume, `busker-watchdog:${wanted}`);
      expect(again).to.equal(told);
      const loader = ["--entrypoint=/.busker/loader", "--user=12000:12000", "-v", "watchdog:/.busker:ro"];
      const shown = ["--library-path", "/.busker/lib", "--inhibit-cache", "/.busker/node", "-p", "process.version"];
      const ran = await docker("run", "--rm", "--network=none", ...loader, "nats:1", ...shown);
      expect(ran).to.equal(`${process.version}\n`);
      const failed = await docker("run", "--rm", ...volume, "busker-watchdog", ...fill, "other").catch(String);
      expect(failed).to.include(`this image has version ${wanted}, and other is wanted`);
    });
  });

  describe("infra/compose.yaml", () => {
    let url: string;
    let variables: Readonly<Record<string, string>>;
    const compose = (...args: readonly string[]): Promise<string> =>
      run("docker-compose", ["--project-name", project, "--file", "infra/compose.yaml", ...args], variables);
    const inspect = async (service: string) => {
      const [found] = await engine.docker.listContainers({
        all: true,
        filters: { label: [`com.docker.compose.project=${project}`, `com.docker.compose.service=${service}`] },
      });
      return engine.docker.getContainer(found?.Id ?? service).inspect();
    };
    // By the engine: one in a chroot cannot execute anything in a container.
    const listFiles = async (id: string, path: string): Promise<readonly string[]> => {
      const names: string[] = [];
      const reader = new Parser({
        onReadEntry: (entry) => {
          names.push(entry.path);
          entry.resume();
        },
      });
      await pipeline(await engine.docker.getContainer(id).getArchive({ path }), reader);
      return names;
    };
    const logs = async (): Promise<string> => compose("logs", "--no-color").catch(String);

    before(async () => {
      const port = await takeFreePort({ what: "a test", key: "", port: 0, patienceMs: 0 });
      url = `http://127.0.0.1:${port}`;
      variables = {
        ...env,
        BUSKER_SUBNET: "198.18.77.0/24",
        BUSKER_NATS_ADDRESS: address,
        BUSKER_PORT: String(port),
        BUSKER_DOCKER_SOCKET: engine.socket,
      };
      await compose("up", "-d");
      // Not by the engine's own look: an engine in a chroot, as of a test's machine, cannot execute anything in a container.
      await eventually(
        "the gateway answers",
        async () =>
          (await fetch(`${url}/healthz`, { signal: AbortSignal.timeout(2000) }).catch(() => undefined))?.ok === true
            ? true
            : undefined,
        60_000,
      ).catch(async (error: unknown) => {
        throw new Error(`${String(error)}\n${await logs()}`);
      });
    });

    after(() => compose("down", "--volumes"));

    it("serves a function that is deployed through the gateway, and by the command in a container", async () => {
      const password = (await compose("run", "--rm", "-T", "cli", "keys", "--password")).trim();
      const authorization = `Basic ${Buffer.from(`admin:${password}`).toString("base64")}`;
      const folder = await mkdtemp(join(tmpdir(), "busker-function-"));
      await writeFile(join(folder, "handler.mjs"), "export default ({ body }) => `Hello, ${body}!`;");
      const body = await packFolder(folder);
      await rm(folder, { recursive: true });
      const stored = await fetch(`${url}/system/bundles`, { method: "POST", headers: { authorization }, body });
      const { image } = (await stored.json()) as { image: string };
      const deployed = await fetch(`${url}/system/functions`, {
        method: "POST",
        headers: { authorization },
        body: JSON.stringify({ service: "hello", image, envVars: { mode: "handler" } }),
      });
      const told = await deployed.text();
      expect(deployed.status, told).to.equal(202);
      const answer = await fetch(`${url}/function/hello`, { method: "POST", body: "you" });
      expect(await answer.text()).to.equal("Hello, you!");
      const accepted = await fetch(`${url}/async-function/hello`, { method: "POST", body: "later" });
      const outcome = await fetch(`${url}/async-function/${accepted.headers.get("x-call-id")}?wait=30s`);
      expect(await outcome.json()).to.deep.include({ state: "succeeded" });
      const label = ["com.openfaas.function=hello"];
      expect(await engine.docker.listContainers({ filters: { label } })).to.have.length(1);
      expect(await compose("run", "--rm", "-T", "cli", "list")).to.match(/hello +1\/1/);
    });

    it("shows nobody outside more than the gateway on the loopback, and the gateway neither socket nor keys", async () => {
      const published: unknown[] = [];
      for (const { Ports } of await engine.docker.listContainers({ all: true }))
        for (const { IP, PublicPort } of Ports) if (PublicPort !== undefined) published.push(`${IP}:${PublicPort}`);
      expect(published).to.deep.equal([url.replace("http://", "")]);
      const gateway = await inspect("gateway");
      expect(gateway.Mounts.map(({ Destination, RW }) => [Destination, RW])).to.deep.equal([["/data", false]]);
      expect(await listFiles(gateway.Id, "/data/trust")).to.deep.equal(["trust/", "trust/sealing.pub"]);
      for (const service of ["nats", "provider", "queue-worker", "gateway", "scaler"]) {
        const { HostConfig, Config } = await inspect(service);
        expect([HostConfig.ReadonlyRootfs, HostConfig.CapDrop, HostConfig.CapAdd], service).to.deep.equal([
          true,
          ["ALL"],
          service === "provider" ? ["DAC_OVERRIDE"] : null,
        ]);
        expect(Config.User, service).to.equal(service === "provider" ? "0:0" : "11000:11000");
      }
    });

    it("keeps functions and keys over a restart, and leaves nothing when it is taken down with its volumes", async () => {
      const before = await compose("run", "--rm", "-T", "cli", "keys", "--password");
      await compose("down");
      await compose("up", "-d");
      const answer = await eventually(
        "the function answers",
        async () => {
          const response = await fetch(`${url}/function/hello`, { method: "POST", body: "again" }).catch(
            () => undefined,
          );
          return response?.ok ? response.text() : undefined;
        },
        60_000,
      );
      expect(answer).to.equal("Hello, again!");
      expect(await compose("run", "--rm", "-T", "cli", "keys", "--password")).to.equal(before);
      await compose("down", "--volumes");
      expect(await engine.docker.listContainers({ all: true })).to.deep.equal([]);
      const { Volumes } = await engine.docker.listVolumes();
      expect(Volumes.map(({ Name }) => Name).filter((name) => name.startsWith(project))).to.deep.equal([]);
      const networks = await engine.docker.listNetworks();
      expect(networks.map(({ Name }) => Name).filter((name) => name.startsWith(project))).to.deep.equal([]);
    });
  });
});
