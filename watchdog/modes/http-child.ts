import type { ChildProcess } from "node:child_process";
import type { Readable } from "node:stream";
import { setTimeout as pause } from "node:timers/promises";
import { BuskerError } from "../../schemas/errors.ts";
import type { WatchdogConfig } from "../config.ts";
import { createLineSplitter } from "../line-splitter.ts";
import type { ModeParts } from "../mode-parts.ts";
import { createPipeSource } from "../output-pipe.ts";
import { describeExit, hasExited, signalGroup, spawnGroup } from "../process-group.ts";
import type { ResolvedCommand } from "../resolve-command.ts";
import type { UpstreamAddress } from "../upstream/client.ts";
import { isListening, leaseFixedPort, leaseFreePort, type PortLease } from "../upstream/port-lease.ts";
import { askReadiness, pauseBeforeNextMs, type ReadinessQuestion } from "../upstream/readiness.ts";

/** A function's server that has answered. */
export interface HttpChild {
  readonly process: ChildProcess;
  readonly address: UpstreamAddress;
  readonly lease: PortLease;
}

/** Last lines of output that are told when a start fails. */
const toldLines = 10;

/** Starts with another port, when somebody took the one that was free a moment ago. */
const maxStarts = 5;

const loopback: readonly string[] = ["127.0.0.1", "::1"];

/** What a function's server writes. */
interface Output {
  /** The last lines. */
  readonly lines: readonly string[];
  /** Resolves when all has been read. */
  readonly read: Promise<unknown>;
}

/** Passes a stream on line by line; resolves at its end. */
const passLines = (stream: Readable, maxBytes: number, onLine: (line: string) => void): Promise<void> =>
  new Promise((resolve) => {
    const lines = createLineSplitter(maxBytes, onLine);
    stream.on("data", (chunk: Buffer) => lines.push(chunk));
    stream.on("error", () => undefined);
    stream.on("close", () => {
      lines.end();
      resolve();
    });
  });

const spawnServer = (
  parts: ModeParts,
  command: ResolvedCommand,
  env: Record<string, string>,
): { child: ChildProcess; output: Output } => {
  const pipes = createPipeSource(2);
  const [stdout, stderr] = [pipes.open(), pipes.open()];
  const child = spawnGroup(command, { env, cwd: parts.cwd }, ["ignore", stdout.stdio, stderr.stdio]);
  const lines: string[] = [];
  const pass = (name: "stdout" | "stderr", stream: Readable): Promise<void> =>
    passLines(stream, parts.config.logBufferBytes, (line) => {
      parts.context.log(name, line);
      if (lines.push(line) > toldLines) lines.shift();
    });
  child.on("error", (error) => lines.push(error.message));
  const read = Promise.all([pass("stdout", stdout.attach(child, 1)), pass("stderr", stderr.attach(child, 2))]);
  pipes.close();
  return { child, output: { lines, read } };
};

const openPort = (url: URL | undefined): Promise<PortLease> =>
  url ? leaseFixedPort(hostsOf(url)[0] ?? "127.0.0.1", Number(url.port || 80)) : leaseFreePort();

/** A server told `localhost`, or only a port, may listen on either loopback address. */
const hostsOf = (url: URL | undefined): readonly string[] => {
  const host = url?.hostname.replace(/^\[|\]$/g, "");
  return host === undefined || host === "localhost" ? loopback : [host];
};

const environmentOf = (env: ModeParts["env"], url: URL | undefined, port: number): Record<string, string> => {
  const text = String(port);
  return url ? { ...env } : { ...env, PORT: text, port: text, http_port: text };
};

const startFailed = (why: string, lines: readonly string[]): BuskerError => {
  const told = lines.length === 0 ? "it wrote nothing" : `its last lines: ${lines.join(" | ")}`;
  return new BuskerError("start_failed", `the function did not start: ${why}; ${told}`);
};

/** An OpenFaaS watchdog says that it is well before the server behind it listens, and answers 500 meanwhile (its issue 92). */
const isInnerListening = async ({ inner }: WatchdogConfig): Promise<boolean> => {
  if (inner?.upstreamUrl === undefined) return true;
  const url = new URL(inner.upstreamUrl);
  for (const host of hostsOf(url)) if (await isListening(host, Number(url.port || 80))) return true;
  return false;
};

/** Asks until the function answers; undefined when its process ended or the time is over. */
const awaitAnswer = async (
  child: ChildProcess,
  question: ReadinessQuestion,
  config: WatchdogConfig,
): Promise<UpstreamAddress | undefined> => {
  const startMs = Date.now();
  while (!hasExited(child) && Date.now() - startMs < config.startTimeoutMs) {
    const address = await askReadiness(question);
    if (address && !hasExited(child) && (await isInnerListening(config))) return address;
    await pause(pauseBeforeNextMs(Date.now() - startMs));
  }
  return undefined;
};

/** How long the output of a dead process is waited for, should a process that escaped its group hold it open. */
const lastWordsMs = 500;

/** Kills the whole group and waits until its output has been read. */
const bury = async (child: ChildProcess, output: Output): Promise<void> => {
  signalGroup(child, "SIGKILL");
  await Promise.race([output.read, pause(lastWordsMs, undefined, { ref: false })]);
};

/** What a start came to. */
type Start =
  | { readonly kind: "ready"; readonly child: HttpChild }
  | { readonly kind: "port taken" }
  | { readonly kind: "failed"; readonly error: BuskerError };

const startOnce = async (
  parts: ModeParts,
  command: ResolvedCommand,
  url: URL | undefined,
  onSpawn: (child: ChildProcess) => void,
): Promise<Start> => {
  const { config, env } = parts;
  const lease = await openPort(url);
  const { child, output } = spawnServer(parts, command, environmentOf(env, url, lease.port));
  const { lines } = output;
  onSpawn(child);
  const question: ReadinessQuestion = {
    addresses: hostsOf(url).map((host) => ({ host, port: lease.port })),
    path: config.readyPath || "/_/health",
    needsSuccess: config.readyPath !== "" || config.inner !== undefined,
  };
  const address = await awaitAnswer(child, question, config);
  if (address) return { kind: "ready", child: { process: child, address, lease } };
  lease.release();
  const exited = hasExited(child);
  await bury(child, output);
  if (!exited)
    return {
      kind: "failed",
      error: startFailed(`no answer on port ${lease.port} within ${config.startTimeoutMs} ms`, lines),
    };
  if (!url && lines.some((line) => /EADDRINUSE|address already in use/i.test(line))) return { kind: "port taken" };
  const how = describeExit(child.exitCode, child.signalCode);
  return {
    kind: "failed",
    error: startFailed(`its process ended with ${how} before it answered on port ${lease.port}`, lines),
  };
};

/** Starts the function's server and waits until it answers. Throws `start_failed` with its last lines when it does not. */
export const startHttpChild = async (
  parts: ModeParts,
  command: ResolvedCommand,
  onSpawn: (child: ChildProcess) => void,
): Promise<HttpChild> => {
  const { upstreamUrl } = parts.config;
  const url = upstreamUrl === undefined ? undefined : new URL(upstreamUrl);
  for (let attempt = 1; attempt <= maxStarts; attempt++) {
    const start = await startOnce(parts, command, url, onSpawn);
    if (start.kind === "ready") return start.child;
    if (start.kind === "failed") throw start.error;
  }
  throw startFailed(`${maxStarts} free ports in a row were taken by others`, []);
};
