import { readFileSync } from "node:fs";
import type { ReplicaLaunch } from "../schemas/launch.ts";
import { type Bus, openBus } from "../services/bus/connection.ts";
import { describeError } from "../services/runtime/log.ts";
import { readWatchdogConfig, type WatchdogConfig } from "./config.ts";
import { createMode } from "./create-mode.ts";
import { watchMemory } from "./memory-limit.ts";
import type { Mode } from "./mode.ts";
import { processTree } from "./process-tree.ts";
import { createReplica, type Replica } from "./replica.ts";
import { createReporter, type Reporter } from "./reporter.ts";
import { scheduleRenewal } from "./renewal.ts";

/*
 * One replica: `node watchdog.mjs LAUNCH-FILE`. Starts the function, waits until it really answers, subscribes,
 * announces itself, serves until it is told to drain or the function is gone.
 */

// What the function's processes get between SIGTERM and SIGKILL.
const stopGraceMs = 2000;

interface Parts {
  readonly bus: Bus;
  readonly mode: Mode;
  readonly reporter: Reporter;
  readonly replica: Replica;
}

const exitWith = async (parts: Parts, code: number, reason?: string): Promise<never> => {
  const { bus, mode, reporter, replica } = parts;
  await mode.stop(stopGraceMs);
  reporter.flush();
  reporter.stop();
  replica.announce("exited", reason);
  // A bus that is away cannot hear it: the provider sees the process end.
  if (bus.isConnected()) await bus.nc.flush();
  process.exit(code);
};

const withLastLines = (reason: string, reporter: Reporter): string =>
  [reason, ...reporter.lastLines()].join("\n").slice(-4000);

const run = async (launch: ReplicaLaunch, config: WatchdogConfig): Promise<void> => {
  const tree = processTree(process.pid);
  const early: Parameters<Reporter["log"]>[] = [];
  let parts: Parts | undefined;
  let ending = false;
  const end = (code: number, reason?: string): void => {
    if (ending || !parts) return;
    ending = true;
    parts.replica.close();
    void exitWith(parts, code, reason);
  };
  const mode = createMode({
    config,
    env: launch.env,
    cwd: launch.cwd,
    context: {
      log: (...line) => (parts ? parts.reporter.log(...line) : early.push(line)),
      lost: (reason) => parts && end(1, withLastLines(reason, parts.reporter)),
    },
  });
  const started = mode.start().then(
    () => undefined,
    (error: unknown) => describeError(error),
  );
  const bus = await openBus({
    url: launch.natsUrl,
    credentialsFile: launch.credentialsFile,
    user: launch.replica,
    name: `replica/${launch.name}.${launch.namespace}/${launch.replica}`,
  });
  const slots = config.maxInflight;
  const inFlight = (): number => replica.inFlight();
  const reporter = createReporter(bus, launch, { inFlight, slots }, tree);
  const replica = createReplica({ bus, launch, mode, slots, reporter, onDrain: () => void drain() });
  parts = { bus, mode, reporter, replica };
  for (const line of early) reporter.log(...line);
  const drain = async (): Promise<void> => {
    await replica.drain(launch.timeoutMs);
    end(0);
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => void drain());
  const failure = await started;
  if (failure !== undefined) return end(1, withLastLines(failure, reporter));
  watchMemory(tree, launch.memoryLimitBytes, (reason) => end(1, reason));
  scheduleRenewal(bus, launch.credentialsFile, replica);
  await replica.open();
};

const readLaunch = (path: string | undefined): ReplicaLaunch => {
  if (path === undefined) throw new Error("usage: watchdog LAUNCH-FILE");
  return JSON.parse(readFileSync(path, "utf8")) as ReplicaLaunch;
};

try {
  const launch = readLaunch(process.argv[2]);
  await run(launch, readWatchdogConfig(launch.env));
} catch (error) {
  process.stderr.write(`${describeError(error)}\n`);
  process.exit(1);
}
