import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { jetstreamManager } from "@nats-io/jetstream";
import { expect } from "chai";
import { functionSubject } from "../schemas/subjects.ts";
import { buckets, stores, streams } from "../schemas/topology.ts";
import { type Bus, openBus } from "../services/bus/connection.ts";
import { openBucket } from "../services/bus/kv.ts";
import { publishDurably, readStream } from "../services/bus/streams.ts";
import { ensureTopology } from "../services/bus/topology.ts";
import { packFolder } from "../services/cli/pack-folder.ts";
import { ensurePassword } from "../services/cli/up/data-folder.ts";
import { type ClusterMember, startTestCluster, type TestCluster } from "./support/nats-cluster.ts";
import { eventually } from "./support/platform.ts";

const root = resolve(import.meta.dirname, "..");
// A server that is gone is noticed by silence, and what its leaders led elects others.
const failoverMs = 60_000;
const attemptMs = 10_000;

const namesOfAll: readonly string[] = [
  ...Object.values(streams).map(({ name }) => name),
  ...Object.values(buckets).map(({ name }) => `KV_${name}`),
  ...Object.values(stores).map(({ name }) => `OBJ_${name}`),
];

/** Gives what work gives, however often it fails before; for what a client does that tries again. */
const insist = <T>(what: string, work: () => Promise<T | undefined>): Promise<T> =>
  eventually(what, () => work().catch(() => undefined), failoverMs);

describe("a cluster of three nats-servers", function () {
  this.timeout(120_000);
  let cluster: TestCluster;
  let bus: Bus;
  const copies = async (): Promise<ReadonlyMap<string, readonly string[]>> => {
    const manager = await jetstreamManager(bus.nc, { checkAPI: false });
    const found = new Map<string, readonly string[]>();
    for (const name of namesOfAll) {
      const info = await insist(`${name} has a leader`, async () => {
        const told = await manager.streams.info(name);
        return told.cluster?.leader ? told : undefined;
      });
      const peers = [info.cluster?.leader ?? "", ...(info.cluster?.replicas ?? []).map((peer) => peer.name)];
      found.set(name, [String(info.config.num_replicas), ...peers.toSorted()]);
    }
    return found;
  };

  before(async () => {
    cluster = await startTestCluster();
    const credentialsFile = cluster.trust.credentialsFile("provider");
    bus = await openBus({ url: cluster.url, credentialsFile, user: "provider", name: "test" });
  });

  after(async () => {
    await bus?.close();
    await cluster?.stop();
  });

  it("has every stream, bucket and store on all three, also those that were there for one server before", async () => {
    await insist("one copy", async () => (await ensureTopology(bus, 1), true));
    for (const [name, [count]] of await copies()) expect(count, name).to.equal("1");
    await insist("three copies", async () => (await ensureTopology(bus, 3), true));
    for (const [name, places] of await copies())
      expect(places, name).to.deep.equal(["3", "nats-1", "nats-2", "nats-3"]);
  });

  it("tells watchers and readers what is new when another server than theirs is killed", async () => {
    const here = cluster.members.find(({ url }) => url.endsWith(`:${bus.nc.info?.port}`));
    const other = cluster.members.find((member) => member !== here);
    const bucket = await insist("the bucket", () => openBucket<{ at: number }>(bus, buckets.namespaces));
    // Enough of them that some have had their consumer on the server that goes.
    const told = Array.from({ length: 9 }, () => new Set<number>());
    const stops = await Promise.all(
      told.map((seen) =>
        bucket.watch((change) => {
          if (change.kind === "put") seen.add(change.entry.value.at);
        }),
      ),
    );
    const read = Array.from({ length: 9 }, () => [] as string[]);
    for (const lines of read)
      stops.push(
        await readStream(
          bus,
          { stream: streams.OPERATIONS, filter: functionSubject("scale", "openfaas-fn", "fn"), since: new Date(0) },
          ({ data }) => lines.push(Buffer.from(data).toString()),
          () => {},
        ),
      );
    const change = async (at: number): Promise<void> => {
      await insist("the bucket takes it", async () => (await bucket.put("x", { at }), true));
      const subject = functionSubject("scale", "openfaas-fn", "fn");
      const event = { subject, type: "io.busker.function.scale" as const, data: { replicas: at } };
      await insist("the stream takes it", () => publishDurably(bus, event));
      await eventually("all watchers are told", () => told.every((seen) => seen.has(at)) || undefined, failoverMs);
      await eventually(
        "all readers are told",
        () => read.every((lines) => lines.length === at) || undefined,
        failoverMs,
      );
    };
    await change(1);
    await other?.kill();
    await change(2);
    for (const stop of stops) stop();
    other?.start();
    await cluster.untilReady();
  });

  describe("with a platform on it", () => {
    const services: ChildProcess[] = [];
    let url: string;
    let authorization: string;
    let upload: string;

    const startService = async (name: string, readyLine: RegExp): Promise<Record<string, unknown>> => {
      const child = spawn(process.execPath, [join(root, `dist/services/${name}/main.js`)], {
        env: {
          PATH: process.env["PATH"],
          BUSKER_DATA: cluster.dataFolder,
          BUSKER_NATS_URL: cluster.url,
          BUSKER_CREDENTIALS: cluster.trust.credentialsFile(name as "provider"),
          BUSKER_STREAM_REPLICAS: "3",
          BUSKER_PORT: "0",
          BUSKER_METRICS_PORT: "0",
        },
        stdio: ["ignore", "ignore", "pipe"],
      });
      services.push(child);
      const lines: string[] = [];
      return new Promise((done, failed) => {
        if (child.stderr)
          createInterface({ input: child.stderr }).on("line", (line) => {
            lines.push(line);
            if (readyLine.test(line)) done(JSON.parse(line) as Record<string, unknown>);
          });
        child.once("exit", (code) => failed(new Error(`${name} ended with ${code}:\n${lines.join("\n")}`)));
      });
    };

    // A wish whose outcome was lost with a server is asked again.
    const api = (method: string, path: string, body: string | Buffer): Promise<Response> =>
      fetch(`${url}${path}`, { method, headers: { authorization }, body, signal: AbortSignal.timeout(attemptMs) });

    const deploy = (service: string): Promise<Response> =>
      api("POST", "/system/functions", JSON.stringify({ service, image: upload, envVars: { mode: "handler" } }));

    const call = async (name: string): Promise<string | undefined> => {
      const signal = AbortSignal.timeout(attemptMs);
      const response = await fetch(`${url}/function/${name}`, { method: "POST", body: "you", signal });
      return response.ok ? response.text() : undefined;
    };

    before(async () => {
      const { password } = ensurePassword(cluster.dataFolder);
      authorization = `Basic ${Buffer.from(`admin:${password}`).toString("base64")}`;
      await startService("provider", /"ready"/);
      const { port } = await startService("gateway", /"listening"/);
      url = `http://127.0.0.1:${String(port)}`;
      const folder = await mkdtemp(join(tmpdir(), "busker-function-"));
      await writeFile(join(folder, "handler.mjs"), "export default ({ body }) => `Hello, ${body}!`;");
      const archive = await packFolder(folder);
      await rm(folder, { recursive: true });
      const stored = await insist("the bundle is stored", async () => {
        const response = await api("POST", "/system/bundles", archive);
        return response.ok ? ((await response.json()) as { image: string }) : undefined;
      });
      upload = stored.image;
    });

    after(async () => {
      for (const child of services.toReversed()) {
        if (child.exitCode !== null || child.signalCode !== null) continue;
        const exited = once(child, "exit");
        child.kill("SIGTERM");
        await exited;
      }
    });

    it("keeps an acknowledged deployment and serves calls, whichever server is killed", async () => {
      const deployed = await deploy("first");
      const told = await deployed.text();
      expect(deployed.status, told).to.equal(202);
      expect(await insist("the first answers", () => call("first"))).to.equal("Hello, you!");
      for (const [at, member] of cluster.members.entries()) await survive(member, `later-${at}`);
    });

    const survive = async (member: ClusterMember, later: string): Promise<void> => {
      await member.kill();
      await insist("the function answers after a server's death", () => call("first"));
      await insist("another is deployed", async () => {
        const response = await deploy(later);
        // An earlier attempt may have been carried out and its answer lost.
        return response.status === 202 || response.status === 409 ? true : undefined;
      });
      await insist("the other answers", () => call(later));
      member.start();
      await cluster.untilReady();
    };
  });
});
