import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { inboxPrefix } from "../schemas/subjects.ts";
import { streams } from "../schemas/topology.ts";
import { canExecute } from "./support/can-execute.ts";
import { type TestEngine, startTestEngine } from "./support/engine.ts";
import { makeOwnImages, run } from "./support/own-images.ts";
import { eventually } from "./support/platform.ts";

const stack = "busker";

// Asks, as the provider and from its container, how many copies of each stream there are in step.
const countCopies = `
  const { connect, credsAuthenticator } = await import("nats");
  const { jetstreamManager } = await import("@nats-io/jetstream");
  const authenticator = credsAuthenticator(fs.readFileSync(process.env.BUSKER_CREDENTIALS));
  const servers = process.env.BUSKER_NATS_URL.split(",");
  const nc = await connect({ servers, authenticator, inboxPrefix: process.argv[1] });
  const manager = await jetstreamManager(nc, { checkAPI: false });
  for (const name of process.argv.slice(2)) {
    const { config, cluster } = await manager.streams.info(name);
    console.log(name, config.num_replicas, 1 + cluster.replicas.filter(({ current }) => current).length);
  }
  await nc.close();`;

describe("infra/stack.yaml on a swarm of one node", function () {
  this.timeout(240_000);
  let engine: TestEngine;
  let folder: string;
  let env: Readonly<Record<string, string>>;
  const docker = (...args: readonly string[]): Promise<string> => run("docker", args, env);

  const containerOf = async (service: string): Promise<string | undefined> => {
    const filters = { label: [`com.docker.swarm.service.name=${stack}_${service}`], status: ["running"] };
    return (await engine.docker.listContainers({ filters }))[0]?.Id;
  };
  const exec = async (service: string, ...args: readonly string[]): Promise<string> =>
    docker("exec", (await containerOf(service)) ?? service, "node", ...args);
  const busker = (...args: readonly string[]): Promise<string> => exec("gateway", "services/cli/main.js", ...args);
  const deployUpper = (name: string): Promise<string> =>
    busker("deploy", "--image", "node-base:1", "--fprocess", "tr a-z A-Z", "--name", name);
  /** What a command prints when it succeeds, which it may not do at first. */
  const insist = (what: string, work: () => Promise<string>, wanted: RegExp): Promise<string> => {
    let last = "";
    const attempt = async (): Promise<string | undefined> => {
      try {
        last = await work();
        return wanted.test(last) ? last : undefined;
      } catch (error) {
        last = String(error);
        return undefined;
      }
    };
    return eventually(what, attempt, 60_000).catch(async (error: unknown) => {
      throw new Error(`${String(error)}\n${last}\n${await tell()}`);
    });
  };
  const tell = async (): Promise<string> => {
    const services = ["nats-1", "nats-2", "nats-3", "provider", "queue-worker", "gateway", "scaler"];
    const logs = services.map(async (name) => {
      const id = (await containerOf(name)) ?? name;
      return run("sh", ["-c", 'docker logs --tail=15 "$1" 2>&1', "sh", id], env).catch(String);
    });
    return [await docker("stack", "ps", "--no-trunc", stack).catch(String), ...(await Promise.all(logs))].join("\n");
  };

  before(async function () {
    folder = await mkdtemp(join(tmpdir(), "busker-stack-"));
    // In a network namespace of its own, because a swarm's bridge has the same name everywhere.
    engine = await startTestEngine({ isolated: true });
    env = await makeOwnImages(engine.docker, engine.socket);
    // The command runs in the platform's own containers here.
    if (!(await canExecute(engine.docker, "node-base:1"))) this.skip();
    await docker("swarm", "init", `--advertise-addr=${engine.hostAddress}`);
    const labels = [1, 2, 3].map((number) => `--label-add=busker.nats-${number}=true`);
    await docker("node", "update", ...labels, (await docker("node", "ls", "-q")).trim());
    const keys = ["keys", `--out=${folder}/keys`, "--cluster=nats-1,nats-2,nats-3"];
    await run(process.execPath, ["dist/services/cli/main.js", ...keys], { BUSKER_DATA: join(folder, "data") });
    const told = await readFile(join(folder, "keys/stack.env"), "utf8");
    const variables = [...told.matchAll(/^export (\w+)='?([^'\n]*)'?$/gm)].map(([, key = "", value = ""]) => [
      key,
      value,
    ]);
    env = {
      ...env,
      ...(Object.fromEntries(variables) as Record<string, string>),
      BUSKER_DOCKER_SOCKET: engine.socket,
      // No machine has another image than those that are made here.
      BUSKER_IMAGE_PULL_POLICY: "Never",
      BUSKER_BASE_IMAGE: "node-base:1",
      // There may be no IPVS in the kernel, which the other mode needs.
      BUSKER_PUBLISH_MODE: "host",
      BUSKER_GATEWAYS: "1",
    };
    await docker("stack", "deploy", "--resolve-image=never", "-c", "infra/stack.yaml", stack);
  });

  after(async () => {
    await docker("swarm", "leave", "--force").catch(() => undefined);
    await engine?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  it("starts the whole platform, which serves a function", async () => {
    await insist("the gateway answers", () => busker("version"), /gateway: \d/);
    await insist("a function is deployed", () => deployUpper("upper"), /upper/);
    await insist("it answers", () => busker("invoke", "upper", "--data", "loud"), /LOUD/);
    const callLater = `
      const url = "http://127.0.0.1:8080/async-function/";
      const accepted = await fetch(url + "upper", { method: "POST", body: "later" });
      const outcome = await fetch(url + accepted.headers.get("x-call-id") + "?wait=30s");
      console.log(await outcome.text());`;
    await insist("it answers later", () => exec("gateway", "--input-type=module", "-e", callLater), /"LATER/);
  });

  it("runs a folder in the base image", async () => {
    await insist("a folder is deployed", () => busker("deploy", "samples/markdown"), /markdown/);
    await insist("it answers", () => busker("invoke", "markdown", "--data", "# Title"), /<h1>Title<\/h1>/);
  });

  it("keeps every stream three times", async () => {
    const names = Object.values(streams).map(({ name }) => name);
    const wanted = new RegExp(names.map((name) => `${name} 3 3\\n`).join(""));
    await insist(
      "all copies are in step",
      () => exec("provider", "-e", `(async()=>{${countCopies}})()`, inboxPrefix("provider"), ...names),
      wanted,
    );
  });

  it("keeps what was deployed and takes more when one nats-server is killed", async () => {
    await docker("kill", (await containerOf("nats-2")) ?? "");
    await insist("the function answers", () => busker("invoke", "upper", "--data", "still"), /STILL/);
    await insist("another is deployed", () => deployUpper("second"), /second/);
    await insist("it answers", () => busker("invoke", "second", "--data", "too"), /TOO/);
  });

  it("gives each service what it needs of the keys, and none of it by an image or a variable", async () => {
    const tasks = await engine.docker.listServices();
    const text = JSON.stringify(tasks);
    const signer = await readFile(join(folder, "keys/provider/trust/signer.json"), "utf8");
    expect(text).to.not.include((JSON.parse(signer) as { seed: string }).seed);
    const list = "fs.readdirSync('/data',{recursive:true}).join()";
    expect((await exec("gateway", "-p", list)).split(",")).to.not.include("trust/signer.json");
    expect(await exec("gateway", "-p", "fs.existsSync('/var/run/docker.sock')")).to.equal("false\n");
  });

  it("has a service for each function, which goes with it", async () => {
    const functions = async (): Promise<readonly string[]> => {
      const services = await engine.docker.listServices({ filters: { label: ["com.busker.function"] } });
      return services.flatMap(({ Spec }) => Spec?.Labels?.["com.busker.function"] ?? []).toSorted();
    };
    expect(await functions()).to.deep.equal(["markdown", "second", "upper"].map((name) => `${name}.openfaas-fn`));
    await insist("one is removed", () => busker("remove", "second"), /second/);
    await eventually("its service is gone", async () => ((await functions()).length === 2 ? true : undefined));
  });

  it("leaves no service, secret or network when it is removed as README.md says", async () => {
    const readme = await readFile("README.md", "utf8");
    const commands = /```text remove\n(.*?)```/s.exec(readme)?.[1] ?? "";
    expect(commands).to.include("docker stack rm");
    await run("sh", ["-ec", commands], env);
    const kinds = ["service", "secret", "config", "network"] as const;
    const list = async (): Promise<string> =>
      (await Promise.all(kinds.map((kind) => docker(kind, "ls", "--format={{.Name}}", "--filter=name=busker"))))
        .join("")
        .replace(`${engine.network}\n`, "");
    let left = "";
    await eventually("nothing is left", async () => ((left = await list()) === "" ? true : undefined), 60_000).catch(
      (error: unknown) => {
        throw new Error(`${String(error)}: ${left}`);
      },
    );
  });
});
