import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { nextWaitMs } from "./back-off.ts";
import { formatLogLine } from "./log-line.ts";

/** A service to be kept running. */
export interface ServiceSpec {
  readonly name: string;
  /** What Node.js runs. */
  readonly file: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** A service that is started again whenever it ends, until it is stopped. */
export interface Supervised {
  readonly name: string;
  /** How often it has ended by itself. */
  readonly deaths: () => number;
  /** Its last line: what it died of, if it did. */
  readonly lastLine: () => string;
  /** SIGTERM, and after `graceMs` SIGKILL; resolves when it is gone. */
  readonly stop: (graceMs: number) => Promise<void>;
  /** Ends its process group at once. */
  readonly kill: () => void;
}

const killGroup = (child: ChildProcess, signal: NodeJS.Signals): void => {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // The group is gone, which is what was wanted.
  }
};

const gone = (child: ChildProcess): Promise<void> =>
  child.exitCode !== null || child.signalCode !== null || child.pid === undefined
    ? Promise.resolve()
    : new Promise((done) => void child.once("exit", () => done()));

const causeOf = (code: number | null, signal: NodeJS.Signals | null): string =>
  signal === null ? `with code ${code}` : `by ${signal}`;

// Large bodies pass as memory outside V8's heap. V8 counts it with a heap that is small, and without this it marks that
// heap anew for every 16 MB that go by: half of the gateway's time (4.4 against 2.0 ms of CPU per MB).
const heapFlags = ["--initial-old-space-size=64"];

// A process group of its own, so that Ctrl-C in a terminal reaches the supervisor only, which then stops things in
// order; a pipe as standard input, whose end tells the service that the supervisor is gone.
const spawnService = ({ file, env }: ServiceSpec): ChildProcess =>
  spawn(process.execPath, [...heapFlags, file], {
    detached: true,
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...env, BUSKER_PARENT: "stdin" },
  });

/** Starts a service and keeps it running; `report` gets its lines and one line whenever it is started again. */
export const supervise = (spec: ServiceSpec, report: (line: string) => void): Supervised => {
  let deaths = 0;
  let lastLine = "";
  let waitMs: number | undefined;
  let stopping = false;
  let timer: NodeJS.Timeout | undefined;
  let child: ChildProcess;

  const readLines = (stream: NodeJS.ReadableStream | null): void => {
    if (!stream) return;
    createInterface({ input: stream }).on("line", (line) => {
      lastLine = formatLogLine(spec.name, line);
      report(lastLine);
    });
  };

  const start = (): void => {
    const startedAtMs = performance.now();
    child = spawnService(spec);
    child.stdin?.on("error", () => {}); // it died first; its exit says so
    readLines(child.stdout);
    readLines(child.stderr);
    child.once("exit", (code, signal) => {
      if (stopping) return;
      deaths += 1;
      waitMs = nextWaitMs(waitMs, performance.now() - startedAtMs);
      report(`busker: ${spec.name} ended ${causeOf(code, signal)}; starting it again in ${waitMs} ms`);
      timer = setTimeout(start, waitMs);
    });
  };

  const kill = (): void => {
    stopping = true;
    clearTimeout(timer);
    killGroup(child, "SIGKILL");
  };

  const stop = async (graceMs: number): Promise<void> => {
    stopping = true;
    clearTimeout(timer);
    const force = setTimeout(kill, graceMs);
    killGroup(child, "SIGTERM");
    await gone(child);
    clearTimeout(force);
    killGroup(child, "SIGKILL"); // whatever it left in its group
  };

  start();
  return { name: spec.name, deaths: () => deaths, lastLine: () => lastLine, stop, kill };
};
