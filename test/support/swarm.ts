import { type ChildProcess, execFile, spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import Docker from "dockerode";
import { untilItAnswers } from "./engine.ts";

const execute = promisify(execFile);
const ip = (...words: readonly string[]): Promise<unknown> => execute("ip", words);

/** One machine of a test's own: a network namespace with an engine in it, whose processes nobody else sees. */
export interface SwarmNode {
  readonly name: string;
  /** As the other node and this machine reach it. */
  readonly address: string;
  readonly docker: Docker;
  /** Ends every process of the node at once, those in containers too, as a power failure would. */
  readonly kill: () => Promise<void>;
  /** Takes its network away: nothing comes from it any more, not even the end of a connection. */
  readonly cutOff: () => Promise<void>;
}

/** Two engines in one swarm; the first is its manager. */
export interface TestSwarm {
  readonly nodes: readonly [SwarmNode, SwarmNode];
  /** The address of this machine on the nodes' network: tasks reach it through their node. */
  readonly hostAddress: string;
  /** Puts an image of the first node on the second one. */
  readonly shareImage: (name: string) => Promise<void>;
  /** A third machine, with images of the first one, which joins; to be asked for once. */
  readonly addNode: (images: readonly string[]) => Promise<SwarmNode>;
  /** Ends everything and leaves nothing: no process, namespace, bridge, rule, mount or file. */
  readonly stop: () => Promise<void>;
}

interface Net {
  readonly bridge: string;
  /** First three numbers of its addresses. */
  readonly prefix: string;
}

/** A bridge with an address of this machine. Numbers at random: another test may have one, too. */
const makeBridge = async (): Promise<Net> => {
  const number = randomInt(256);
  const net = { bridge: `bsk${number.toString(16)}-${process.pid % 10_000}`, prefix: `10.213.${number}` };
  await ip("link", "add", net.bridge, "type", "bridge");
  await ip("addr", "add", `${net.prefix}.1/24`, "dev", net.bridge);
  await ip("link", "set", net.bridge, "up");
  return net;
};

// An engine on this machine may have set the policy of forwarding to DROP, which holds for bridges, too.
const forwardRule = ({ bridge }: Net): readonly string[] => ["FORWARD", "-i", bridge, "-o", bridge, "-j", "ACCEPT"];

const makeNamespace = async (net: Net, name: string, number: number): Promise<string> => {
  const address = `${net.prefix}.${10 + number}`;
  const link = `${net.bridge}-${number}`;
  await ip("netns", "add", name);
  await ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name);
  await ip("link", "set", link, "master", net.bridge, "up");
  await ip("-n", name, "addr", "add", `${address}/24`, "dev", "eth0");
  await ip("-n", name, "link", "set", "lo", "up");
  await ip("-n", name, "link", "set", "eth0", "up");
  await ip("-n", name, "route", "add", "default", "via", `${net.prefix}.1`);
  return address;
};

// In process, mount and network namespaces of its own: it ends with its first process, and so do its mounts.
const startScript = `
mount --bind "$1/run" /run
exec dockerd --data-root="$1/data" --exec-root=/run/docker --pidfile=/run/dockerd.pid \\
  --host="unix://$1/engine.sock" --default-address-pool="base=172.31.0.0/16,size=24" --swarm-default-advertise-addr=eth0 \\
  --insecure-registry="$3"
`;

const startNodeEngine = async (
  { name, folder, registries }: { readonly name: string; readonly folder: string; readonly registries: string },
  lines: string[],
): Promise<ChildProcess> => {
  await mkdir(join(folder, "run"), { recursive: true });
  const unshare = ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc"];
  const child = spawn(
    "nsenter",
    [
      `--net=/run/netns/${name}`,
      ...unshare,
      "sh",
      "-c",
      `hostname "$2"\n${startScript}`,
      "sh",
      folder,
      name,
      registries,
    ],
    {
      stdio: ["ignore", "ignore", "pipe"],
      env: { PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin`, HOME: folder },
    },
  );
  child.stderr?.on("data", (text: Buffer) => {
    lines.push(text.toString());
    if (lines.length > 50) lines.shift();
  });
  child.on("error", (error) => lines.push(error.message));
  return child;
};

const childrenOf = (pid: number): readonly number[] => {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number);
  } catch {
    // It has ended meanwhile.
    return [];
  }
};

const killNow = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const exited = once(child, "exit");
  // The child is `unshare`; its child is the first process of the namespace, whose end is the end of all others there.
  const [first] = childrenOf(child.pid);
  if (first === undefined) child.kill("SIGKILL");
  else process.kill(first, "SIGKILL");
  await exited;
};

/**
 * An engine that is started again when it ends by itself, which some do (seen with 20.10), as a machine's own supervisor
 * does; its last words are told.
 */
const superviseEngine = async (
  place: Parameters<typeof startNodeEngine>[0],
  lines: string[],
): Promise<{ readonly process: () => ChildProcess; readonly kill: () => Promise<void> }> => {
  let isWanted = true;
  const start = async (): Promise<ChildProcess> => {
    // What the one before has left of its processes would be taken for theirs.
    await rm(join(place.folder, "run"), { recursive: true, force: true });
    const child = await startNodeEngine(place, lines);
    child.once("exit", (code, signal) => {
      if (!isWanted) return;
      console.error(`the engine of ${place.name} has ended (${code ?? signal}):\n${lines.splice(0).join("")}`);
      void start().then((next) => (current = next));
    });
    return child;
  };
  let current = await start();
  return {
    process: () => current,
    kill: async () => {
      isWanted = false;
      await killNow(current);
    },
  };
};

const hasProcesses = (name: string): Promise<boolean> =>
  execute("ip", ["netns", "pids", name]).then(
    ({ stdout }) => stdout.trim() !== "",
    () => false,
  );

/** What the kernel is a moment late with after the end of a process namespace. */
const removeFolder = async (folder: string): Promise<void> => {
  const points = readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[1] ?? "")
    .filter((point) => point.startsWith(`${folder}/`));
  for (const point of points.reverse()) await execute("umount", ["-l", point]);
  await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
};

const swarmSettings = ({ address }: SwarmNode) => ({
  ListenAddr: `${address}:2377`,
  AdvertiseAddr: address,
  DataPathAddr: address,
});

const joinSwarm = async (manager: SwarmNode, worker: SwarmNode): Promise<void> => {
  const { JoinTokens } = (await manager.docker.swarmInspect()) as { JoinTokens: { Worker: string } };
  const remote = { RemoteAddrs: [`${manager.address}:2377`], JoinToken: JoinTokens.Worker };
  await worker.docker.swarmJoin({ ...swarmSettings(worker), ...remote });
};

/** Starts one; to be stopped in `after`. Needs root and Debian's `docker.io`, `iproute2` and `iptables`. */
export const startTestSwarm = async (): Promise<TestSwarm> => {
  if (process.getuid?.() !== 0) throw new Error("engines of a test's own can only be started by root");
  const folder = await mkdtemp(join(tmpdir(), "busker-swarm-"));
  const undo: (() => Promise<unknown>)[] = [() => removeFolder(folder)];
  const stop = async (): Promise<void> => {
    for (const step of undo.splice(0).reverse()) await step();
  };

  const openNode = async (net: Net, number: number): Promise<SwarmNode> => {
    const name = `${net.bridge}-n${number}`;
    undo.push(() => ip("netns", "del", name).catch(() => undefined));
    // By itself it would go with the namespace, a while after that is deleted.
    undo.push(() => ip("link", "del", `${net.bridge}-${number}`).catch(() => undefined));
    const address = await makeNamespace(net, name, number);
    const own = join(folder, `node-${number}`);
    const lines: string[] = [];
    const engine = await superviseEngine({ name, folder: own, registries: `${net.prefix}.0/24` }, lines);
    const kill = async (): Promise<void> => {
      await engine.kill();
      // Not gone before the last of its processes: some hold the namespace's network, some its files.
      for (let left = 100; left > 0 && (await hasProcesses(name)); left -= 1)
        await new Promise((resolve) => setTimeout(resolve, 50));
    };
    undo.push(kill);
    const docker = new Docker({ socketPath: join(own, "engine.sock") });
    await untilItAnswers(docker, engine.process(), lines);
    return {
      name,
      address,
      docker,
      kill,
      cutOff: async () => void (await ip("link", "del", `${net.bridge}-${number}`)),
    };
  };

  try {
    const net = await makeBridge();
    undo.push(() => ip("link", "del", net.bridge));
    await execute("iptables", ["-I", ...forwardRule(net)]);
    undo.push(() => execute("iptables", ["-D", ...forwardRule(net)]));
    const opening = [openNode(net, 1), openNode(net, 2)] as const;
    // Both, before any is undone.
    await Promise.allSettled(opening);
    const nodes = await Promise.all(opening);
    // Three of them missed, and a machine counts as down: 6 s instead of the usual 15.
    const Spec = { Dispatcher: { HeartbeatPeriod: 2_000_000_000 } };
    await nodes[0].docker.swarmInit({ ...swarmSettings(nodes[0]), ForceNewCluster: false, Spec });
    await joinSwarm(...nodes);
    const shareImage = async (name: string, { docker } = nodes[1]): Promise<void> => {
      const image = await nodes[0].docker.getImage(name).get();
      const progress = await docker.loadImage(image);
      await new Promise<void>((done, fail) =>
        docker.modem.followProgress(progress, (error) => (error ? fail(error) : done())),
      );
    };
    const addNode = async (images: readonly string[]): Promise<SwarmNode> => {
      const node = await openNode(net, 3);
      for (const image of images) await shareImage(image, node);
      await joinSwarm(nodes[0], node);
      return node;
    };
    return { nodes, hostAddress: `${net.prefix}.1`, shareImage, addNode, stop };
  } catch (error) {
    await stop();
    throw error;
  }
};
