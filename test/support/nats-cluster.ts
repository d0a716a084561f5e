import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { copyFile, cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { probeServer } from "../../services/bus/probe.ts";
import { openTrust, type Trust } from "../../services/bus/trust.ts";
import { takeFreePort } from "../../services/cli/up/free-port.ts";
import { eventually } from "./platform.ts";

const root = resolve(import.meta.dirname, "../..");
const startMs = 30_000;

/** One server of a cluster. */
export interface ClusterMember {
  readonly name: string;
  readonly url: string;
  /** Ends it with SIGKILL. */
  readonly kill: () => Promise<void>;
  /** Starts it again, after `kill`, on its store. */
  readonly start: () => void;
}

/** Three nats-servers on this machine's loopback, as infra/stack.yaml has them. */
export interface TestCluster {
  /** All servers' URLs, separated by commas. */
  readonly url: string;
  readonly members: readonly ClusterMember[];
  readonly dataFolder: string;
  readonly trust: Trust;
  /** Resolves when JetStream answers at every server that runs. */
  readonly untilReady: () => Promise<void>;
  readonly stop: () => Promise<void>;
}

interface Place {
  readonly name: string;
  readonly port: number;
  readonly routePort: number;
}

const freePort = (): Promise<number> => takeFreePort({ what: "a test", key: "", port: 0, patienceMs: 0 });

const takePlaces = async (names: readonly string[]): Promise<readonly Place[]> => {
  const places: Place[] = [];
  for (const name of names) places.push({ name, port: await freePort(), routePort: await freePort() });
  return places;
};

/** The folder of one server: the configuration as it stands in this tree, its own copy of the keys, its store. */
const layOut = async (folder: string, trust: Trust, routes: string): Promise<void> => {
  await mkdir(join(folder, "infra/nats"), { recursive: true });
  await copyFile(join(root, "nats.conf"), join(folder, "nats.conf"));
  await copyFile(join(root, "infra/nats/cluster.conf"), join(folder, "infra/nats/cluster.conf"));
  await writeFile(join(folder, "infra/nats/routes.conf"), routes);
  await cp(trust.paths.folder, join(folder, "trust"), { recursive: true });
};

const spawnMember = (folder: string, { name, port, routePort }: Place): ChildProcess => {
  const child = spawn("nats-server", ["-c", join(folder, "infra/nats/cluster.conf")], {
    env: {
      PATH: `${process.env["PATH"] ?? ""}:/usr/sbin`,
      BUSKER_NATS_HOST: "127.0.0.1",
      BUSKER_NATS_PORT: String(port),
      BUSKER_NATS_STORE: join(folder, "store"),
      BUSKER_NATS_OPERATOR: join(folder, "trust/operator.jwt"),
      BUSKER_NATS_ACCOUNTS: join(folder, "trust/accounts"),
      BUSKER_NATS_NAME: name,
      BUSKER_NATS_CLUSTER_HOST: "127.0.0.1",
      BUSKER_NATS_CLUSTER_PORT: String(routePort),
    },
    stdio: ["ignore", "ignore", "pipe"],
  });
  child.stderr?.pipe(createWriteStream(join(folder, "log"), { flags: "a" }));
  return child;
};

const endWith = async (child: ChildProcess, signal: NodeJS.Signals): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const exited = once(child, "exit");
  child.kill(signal);
  await exited;
};

/** Starts one; to be stopped in `after`. */
export const startTestCluster = async (): Promise<TestCluster> => {
  const base = await mkdtemp(join(tmpdir(), "busker-cluster-"));
  const dataFolder = join(base, "data");
  const trust = await openTrust(dataFolder);
  const places = await takePlaces(["nats-1", "nats-2", "nats-3"]);
  const others = places.map(({ routePort }) => `"nats-route://busker:word@127.0.0.1:${routePort}"`);
  const routes = `authorization { user: busker, password: word }\nroutes: [${others.join(", ")}]\n`;
  const children = new Map<string, ChildProcess>();
  const stop = async (): Promise<void> => {
    for (const child of children.values()) await endWith(child, "SIGKILL");
    await rm(base, { recursive: true, force: true });
  };
  const members: ClusterMember[] = [];
  for (const place of places) {
    const folder = join(base, place.name);
    await layOut(folder, trust, routes);
    const start = (): void => void children.set(place.name, spawnMember(folder, place));
    start();
    members.push({
      name: place.name,
      url: `nats://127.0.0.1:${place.port}`,
      start,
      kill: async () => {
        const child = children.get(place.name);
        if (child) await endWith(child, "SIGKILL");
      },
    });
  }
  const isReady = async ({ name, url }: ClusterMember): Promise<true | undefined> => {
    const child = children.get(name);
    if (child?.signalCode === "SIGKILL") return true;
    if (child?.exitCode !== null)
      throw new Error(`${name} did not start:\n${await readFile(join(base, name, "log"), "utf8")}`);
    const options = { url, credentialsFile: trust.credentialsFile("admin"), user: "admin", timeoutMs: 1000 };
    return probeServer(options).then(
      () => true as const,
      () => undefined,
    );
  };
  const untilReady = async (): Promise<void> => {
    await Promise.all(members.map((member) => eventually(`${member.name} answers`, () => isReady(member), startMs)));
  };
  try {
    await untilReady();
  } catch (error) {
    await stop();
    throw error;
  }
  return { url: members.map(({ url }) => url).join(","), members, dataFolder, trust, untilReady, stop };
};
