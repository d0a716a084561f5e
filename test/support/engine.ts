import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants, readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import Docker from "dockerode";
import { type NetworkNamespace, openNetworkNamespace } from "./network-namespace.ts";
import { eventually } from "./platform.ts";

/** A Docker engine for one test file: its own socket, images, containers and network, away from any other engine. */
export interface TestEngine {
  readonly docker: Docker;
  readonly socket: string;
  /** Name of the network that containers are put in. */
  readonly network: string;
  /** The address under which containers in that network reach this machine. */
  readonly hostAddress: string;
  /** Lets containers reach a server that listens on this machine's loopback; gives the port for them. */
  readonly forward: (port: number) => Promise<number>;
  /** Ends the engine's daemon with a signal, and starts it again on the same data. */
  readonly restart: (signal: "SIGTERM" | "SIGKILL") => Promise<void>;
  /** Removes every container, ends the engine and leaves nothing behind. */
  readonly stop: () => Promise<void>;
}

const networkName = "busker-test";
const startMs = 30_000;

const hasProgram = (name: string): boolean =>
  `${process.env["PATH"] ?? ""}${delimiter}/usr/sbin${delimiter}/sbin`.split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });

/** How an engine is started. */
export interface TestEngineOptions {
  /**
   * In a network namespace of its own, with packet filters as an engine sets them up by itself. Otherwise it sets up
   * neither iptables nor forwarding, because those would be this machine's: containers only reach this machine.
   */
  readonly isolated?: boolean;
}

const inThisNamespace: readonly string[] = [
  "--bridge=none",
  "--iptables=false",
  "--ip-forward=false",
  "--ip-masq=false",
];

interface DaemonPlace {
  readonly folder: string;
  readonly socket: string;
  readonly lines: string[];
  readonly namespace: NetworkNamespace | undefined;
}

const startDaemon = ({ folder, socket, lines, namespace }: DaemonPlace): ChildProcess => {
  const child = spawn(
    namespace ? "nsenter" : "dockerd",
    [
      ...(namespace ? [`--net=/proc/${namespace.pid}/ns/net`, "dockerd"] : inThisNamespace),
      `--data-root=${join(folder, "data")}`,
      `--exec-root=${join(folder, "exec")}`,
      `--pidfile=${join(folder, "dockerd.pid")}`,
      `--host=unix://${socket}`,
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

/** Resolves when an engine answers; throws with its last words when it has ended. */
export const untilItAnswers = (docker: Docker, child: ChildProcess, lines: readonly string[]): Promise<true> =>
  eventually(
    "the engine answers",
    async () => {
      if (child.exitCode !== null || child.pid === undefined)
        throw new Error(`dockerd did not start:\n${lines.join("")}`);
      return docker.ping().then(
        () => true as const,
        () => undefined,
      );
    },
    startMs,
  );

const endDaemon = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), 15_000);
  await exited;
  clearTimeout(timer);
};

/**
 * A daemon takes the containerd of the one before for its own, and waits for it in vain: when it is not gone yet, and when
 * the machine's first process has not noticed yet that it is.
 */
const forgetContainerd = async (folder: string): Promise<void> => {
  const file = join(folder, "exec/containerd/containerd.pid");
  await eventually("containerd is gone", () => {
    try {
      return readFileSync(`/proc/${readFileSync(file, "utf8")}/stat`, "utf8").includes(") Z ") || undefined;
    } catch {
      return true;
    }
  });
  await rm(file, { force: true });
};

const readProcess = (path: string): string => {
  try {
    return readFileSync(`/proc/${path}`, "utf8");
  } catch {
    return "";
  }
};

/** Ends containers that an engine leaves when it was killed: what holds them names the engine's folder, they do not. */
const endLeftContainers = (folder: string): void => {
  const holders = readdirSync("/proc").filter(
    (pid) => /^\d+$/.test(pid) && readProcess(`${pid}/cmdline`).includes(`${folder}/`),
  );
  for (const holder of holders) {
    const held = readProcess(`${holder}/task/${holder}/children`).split(" ").filter(Boolean);
    for (const pid of [holder, ...held]) kill(Number(pid));
  }
};

const kill = (pid: number): void => {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
};

/** Mounts that an engine leaves when it was killed, the innermost first. */
const unmountBelow = async (folder: string): Promise<void> => {
  const points = readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[1] ?? "")
    .filter((point) => point.startsWith(`${folder}/`));
  for (const point of points.reverse()) await promisify(execFile)("umount", ["-l", point]);
};

const createNetwork = async (docker: Docker): Promise<string> => {
  const network = await docker.createNetwork({ Name: networkName, Driver: "bridge" });
  const { IPAM } = (await network.inspect()) as { IPAM?: { Config?: { Gateway?: string }[] } };
  const gateway = IPAM?.Config?.[0]?.Gateway;
  if (gateway === undefined) throw new Error("the engine gave its network no gateway");
  return gateway.replace(/\/.*$/, "");
};

/** Passes connections to a server on to a port of the loopback. */
const forwardTo = (server: Server, port: number): Set<Socket> => {
  const sockets = new Set<Socket>();
  server.on("connection", (near: Socket) => {
    const far = connect({ host: "127.0.0.1", port });
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket);
      socket.on("error", () => other.destroy());
      socket.on("close", () => sockets.delete(socket));
      socket.pipe(other);
    }
  });
  return sockets;
};

const listenHere = async (host: string): Promise<{ server: Server; port: number }> => {
  const server = createServer().listen(0, host);
  await once(server, "listening");
  return { server, port: (server.address() as AddressInfo).port };
};

const removeContainers = async (docker: Docker): Promise<void> => {
  for (const { Id } of await docker.listContainers({ all: true }))
    await docker.getContainer(Id).remove({ force: true, v: true });
};

/** Starts one; to be stopped in `after`. Needs root and Debian's `docker.io`, which `scripts/test` installs. */
export const startTestEngine = async ({ isolated = false }: TestEngineOptions = {}): Promise<TestEngine> => {
  if (process.getuid?.() !== 0) throw new Error("an engine of a test's own can only be started by root");
  if (!hasProgram("dockerd")) throw new Error("there is no dockerd; scripts/test installs it (docker.io on Debian)");
  const folder = await mkdtemp(join(tmpdir(), "busker-engine-"));
  const socket = join(folder, "engine.sock");
  const lines: string[] = [];
  const namespace = isolated ? await openNetworkNamespace() : undefined;
  const place = { folder, socket, lines, namespace };
  let child = startDaemon(place);
  const docker = new Docker({ socketPath: socket });
  const forwarders: { server: Server; sockets: Set<Socket> }[] = [];
  const stop = async (): Promise<void> => {
    for (const { server, sockets } of forwarders) {
      server.close();
      for (const open of sockets) open.destroy();
    }
    if (child.exitCode === null && child.pid !== undefined) {
      await removeContainers(docker).catch(() => undefined);
      // A bridge is the kernel's, and outlives the engine.
      const networks = await docker.listNetworks({ filters: { type: ["custom"] } }).catch(() => []);
      for (const { Id } of networks)
        await docker
          .getNetwork(Id)
          .remove()
          .catch(() => undefined);
      await endDaemon(child);
    }
    endLeftContainers(folder);
    await namespace?.close();
    await unmountBelow(folder);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await untilItAnswers(docker, child, lines);
    const hostAddress = await createNetwork(docker);
    return {
      docker,
      socket,
      network: networkName,
      hostAddress,
      stop,
      forward: async (port) => {
        const { server, port: given } = await (namespace ?? { listen: listenHere }).listen(hostAddress);
        forwarders.push({ server, sockets: forwardTo(server, port) });
        return given;
      },
      restart: async (signal) => {
        const exited = once(child, "exit");
        child.kill(signal);
        await exited;
        await forgetContainerd(folder);
        child = startDaemon(place);
        await untilItAnswers(docker, child, lines);
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
};
