import { spawn } from "node:child_process";
import { once } from "node:events";
import { open, rm } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { BuskerError } from "../../schemas/errors.ts";
import { probeServer } from "../bus/probe.ts";
import { credentialsPath } from "../bus/trust-files.ts";
import type { Environment } from "../runtime/config.ts";
import { stopLeftOverServer } from "./left-over-server.ts";
import { findNatsBinary } from "./nats-binary.ts";
import { confVariables, prepareFolder, readLog, readUrl, type ServerFiles, serverFiles } from "./nats-server-files.ts";

/** How nats-server is started. */
export interface NatsServerOptions {
  /** Where `openTrust` has made the keys; the server keeps its streams, log and pid file in `nats/` below it. */
  readonly dataFolder: string;
  /** The project's nats.conf. */
  readonly conf: string;
  /** 0: any free port. */
  readonly port: number;
  readonly host?: string;
  /** A path, or a name to search for. */
  readonly binary?: string;
  /** What the server is started with besides the variables of nats.conf. */
  readonly environment?: Environment;
  /** Within which it must accept a client: a store of many gigabytes takes its time. */
  readonly startMs?: number;
}

/** How a server's run ended. */
export interface ServerExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A running nats-server. */
export interface NatsServer {
  /** As clients on this machine reach it. */
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  readonly logFile: string;
  /** Resolves when the process has gone, for whatever reason. */
  readonly exited: Promise<ServerExit>;
  /** Ends it in order; SIGKILL after ten seconds. May be called again. */
  readonly stop: () => Promise<void>;
  /** Ends it with SIGKILL, as a crash would. */
  readonly kill: () => Promise<void>;
}

const lookMs = 10;
const stopMs = 10_000;
const defaultStartMs = 30_000;

const defaults = { host: "127.0.0.1", binary: "nats-server", environment: {}, startMs: defaultStartMs };
type FullOptions = Required<NatsServerOptions>;

// The server shares the machine with the functions it calls. With all cores of a two-core machine, its Go scheduler spends
// a third of its time waking threads: one core instead took a call from 25-30 to 17-19 us of the server and gave 5-10 %
// more calls a second (HTTP function, 32 connections). Who sets GOMAXPROCS keeps it.
const serverCores = (): string => String(Math.max(1, Math.floor(availableParallelism() / 2)));

const spawnServer = async (binary: string, options: FullOptions, files: ServerFiles) => {
  const log = await open(files.log, "a", 0o600);
  try {
    const child = spawn(binary, ["-c", resolve(options.conf), "-P", files.pid, "--ports_file_dir", files.folder], {
      env: { GOMAXPROCS: serverCores(), ...options.environment, ...confVariables(options, files) },
      // Its own process group: Ctrl-C must reach the platform, which stops its parts in their order.
      detached: true,
      stdio: ["ignore", log.fd, log.fd],
    });
    const exited = once(child, "exit").then(([code, signal]) => ({ code, signal }) as ServerExit);
    // Without a process there is no exit, and `spawn` says why.
    exited.catch(() => undefined);
    await once(child, "spawn");
    return { pid: child.pid ?? 0, exited, signal: (name: NodeJS.Signals) => child.kill(name) };
  } finally {
    await log.close();
  }
};
type Spawned = Awaited<ReturnType<typeof spawnServer>>;

/** Resolves with the URL once a client has been served; stops trying when `signal` is aborted. */
const waitUntilServing = async (
  options: FullOptions,
  files: ServerFiles,
  pid: number,
  signal: AbortSignal,
): Promise<string> => {
  const credentialsFile = credentialsPath(options.dataFolder, "admin");
  for (;;) {
    signal.throwIfAborted();
    const url = await readUrl(files, pid);
    if (url !== undefined) {
      await probeServer({ url, credentialsFile, user: "admin", timeoutMs: options.startMs });
      return url;
    }
    await wait(lookMs);
  }
};

const explainFailure = async (options: FullOptions, files: ServerFiles, what: string): Promise<BuskerError> => {
  const log = await readLog(files);
  const address = `${options.host}:${options.port}`;
  if (log.text.includes("address already in use"))
    return new BuskerError(
      "conflict",
      `could not start nats-server on ${address}: another program uses this port; stop it or set BUSKER_NATS_PORT to another`,
    );
  return new BuskerError(
    "bus_unavailable",
    `could not start nats-server on ${address}: ${what}; the end of ${files.log}:\n  ${log.end}`,
  );
};

const stopServer = async (server: Spawned, files: ServerFiles, first: NodeJS.Signals): Promise<void> => {
  server.signal(first);
  const killer = setTimeout(() => server.signal("SIGKILL"), stopMs);
  await server.exited;
  clearTimeout(killer);
  await rm(files.pid, { force: true });
};

/** Which comes first: it serves, it ends, or its time is over. */
const awaitStart = async (server: Spawned, options: FullOptions, files: ServerFiles): Promise<string> => {
  const startMs = options.startMs;
  const over = new AbortController();
  const timer = setTimeout(() => over.abort(new Error(`it served no client within ${startMs} ms`)), startMs);
  const ended = server.exited.then(({ code, signal }) => {
    throw new Error(`it ended with ${signal ?? `exit code ${code}`}`);
  });
  try {
    return await Promise.race([waitUntilServing(options, files, server.pid, over.signal), ended]);
  } catch (error) {
    const failure = await explainFailure(options, files, error instanceof Error ? error.message : String(error));
    await stopServer(server, files, "SIGKILL");
    throw failure;
  } finally {
    clearTimeout(timer);
    over.abort();
    ended.catch(() => undefined);
  }
};

/**
 * Starts nats-server with the project's nats.conf on a data folder and waits until it has served a client. A server
 * that a dead platform left on this folder is stopped first. Throws `conflict` when the port or the folder is in use,
 * `not_found` when there is no such program, `bus_unavailable` with the end of its log when it does not come up.
 */
export const startNatsServer = async (given: NatsServerOptions): Promise<NatsServer> => {
  const options: FullOptions = { ...defaults, ...given };
  const files = serverFiles(options.dataFolder);
  const binary = await findNatsBinary(options.binary, options.environment["PATH"] ?? "");
  await stopLeftOverServer(files.pid);
  await prepareFolder(files);
  const server = await spawnServer(binary, options, files).catch((cause: unknown) => {
    throw new BuskerError("bus_unavailable", `could not run ${binary}: ${String(cause)}`, { cause });
  });
  const url = await awaitStart(server, options, files);
  return {
    url,
    port: Number(new URL(url).port),
    pid: server.pid,
    logFile: files.log,
    exited: server.exited,
    stop: () => stopServer(server, files, "SIGTERM"),
    kill: () => stopServer(server, files, "SIGKILL"),
  };
};
