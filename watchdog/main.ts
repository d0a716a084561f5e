import { readFileSync } from "node:fs";
import type { ReplicaLaunch } from "../schemas/launch.ts";
import { type Bus, openBus } from "../services/bus/connection.ts";
import { describeError } from "../services/runtime/log.ts";
import { readWatchdogConfig, type WatchdogConfig } from "./config.ts";
import { createMode } from "./create-mode.ts";
import { createEnding, type Ending } from "./ending.ts";
import { watchMemory } from "./memory-limit.ts";
import type { Mode } from "./mode.ts";
import { processTree } from "./process-tree.ts";
import { createReplica } from "./replica.ts";
import { createReporter } from "./reporter.ts";
import { scheduleRenewal } from "./renewal.ts";

/*
 * One replica: `node watchdog.mjs LAUNCH-FILE`. Starts the function, waits until it really answers, subscribes,
 * announces itself, serves until it is told to drain or the function is gone.
 */

const createFunction = (launch: ReplicaLaunch, config: WatchdogConfig, ending: Ending): Mode =>
  createMode({ config, env: launch.env, cwd: launch.cwd, context: { log: ending.log, lost: ending.lost } });

const openReplicaBus = ({ natsUrl, credentialsFile, replica, name, namespace }: ReplicaLaunch): Promise<Bus> =>
  openBus({ url: natsUrl, credentialsFile, user: replica, name: `replica/${name}.${namespace}/${replica}` });

/** The reason a mode did not start; undefined when it did. */
const startMode = (mode: Mode): Promise<string | undefined> => mode.start().then(() => undefined, describeError);

const run = async (launch: ReplicaLaunch, config: WatchdogConfig): Promise<void> => {
  const tree = processTree(process.pid);
  const ending = createEnding();
  const mode = createFunction(launch, config, ending);
  // The function starts while the connection is made: both take a while, and neither needs the other.
  const starting = startMode(mode);
  const bus = await openReplicaBus(launch);
  const slots = config.maxInflight;
  const reporter = createReporter(bus, launch, { inFlight: () => replica.inFlight(), slots, format: config }, tree);
  const replica = createReplica({
    bus,
    launch,
    mode,
    slots,
    reporter,
    readyPath: config.readyPath,
    onDrain: () => void drain(),
  });
  ending.attach({ bus, mode, reporter, replica });
  const drain = async (): Promise<void> => {
    await replica.drain(launch.timeoutMs);
    ending.end(0);
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => void drain());
  const failure = await starting;
  if (failure !== undefined) return ending.lost(failure);
  const limitBytes = launch.memoryLimitBytes;
  const isInside = config.mode === "handler";
  if (limitBytes !== undefined) watchMemory({ tree, limitBytes, isInside, over: (reason) => ending.end(1, reason) });
  scheduleRenewal(launch.credentialsFile, replica);
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
