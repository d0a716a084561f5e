import { symlinkSync } from "node:fs";
import { taskVariable } from "../schemas/enrolment.ts";
import type { ReplicaLaunch } from "../schemas/launch.ts";
import { type Bus, openBus } from "../services/bus/connection.ts";
import { type CredentialSource, holdCredentials, openCredentialsFile } from "../services/bus/credentials.ts";
import { describeError } from "../services/runtime/log.ts";
import { readWatchdogConfig, type WatchdogConfig } from "./config.ts";
import { createMode } from "./create-mode.ts";
import { createEnding, type Ending } from "./ending.ts";
import { enrol, type ObtainedLaunch } from "./enrol.ts";
import { watchMemory } from "./memory-limit.ts";
import type { Mode } from "./mode.ts";
import { watchOutOfMemory } from "./out-of-memory.ts";
import { processTree } from "./process-tree.ts";
import { readLaunch } from "./read-launch.ts";
import { createReplica } from "./replica.ts";
import { createReporter } from "./reporter.ts";
import { endWhenLapsed, scheduleRenewal } from "./renewal.ts";
import { openSecretFiles } from "./secret-files.ts";

/*
 * One replica: `node watchdog.mjs LAUNCH-FILE`, or `-` when the launch comes by standard input, or `enrol:FILE` when the
 * provider is to be asked for it. Starts the function, waits until it really answers, subscribes, announces itself,
 * serves until it is told to drain or the function is gone.
 */

/** Where a replica's credentials are: in a file, or in memory and nowhere else. */
interface ReplicaCredentials {
  readonly source: CredentialSource;
  readonly onRenew: ((jwt: string) => void) | undefined;
}

const openCredentials = ({ credentialsFile, credentials }: ReplicaLaunch): ReplicaCredentials => {
  if (credentialsFile !== undefined) return { source: openCredentialsFile(credentialsFile), onRenew: undefined };
  if (credentials === undefined) throw new Error("the launch has neither credentialsFile nor credentials");
  const held = holdCredentials(credentials);
  return { source: held, onRenew: held.renew };
};

const createFunction = (launch: ReplicaLaunch, config: WatchdogConfig, ending: Ending): Mode =>
  createMode({
    config,
    env: launch.env,
    cwd: launch.cwd,
    context: { log: ending.log, lost: tellOfMemory(launch, ending) },
  });

/** Says so before the end when it was the kernel that ended the function: the lines written last are told with it. */
const tellOfMemory = ({ engineMemoryLimit }: ReplicaLaunch, ending: Ending): Ending["lost"] => {
  if (engineMemoryLimit === undefined) return ending.lost;
  const memory = watchOutOfMemory(engineMemoryLimit, (text) => ending.log("stderr", text));
  return (reason) => {
    memory.look();
    ending.lost(reason);
  };
};

const openReplicaBus = (launch: ReplicaLaunch, credentialsFile: CredentialSource): Promise<Bus> => {
  const { natsUrl, replica, name, namespace } = launch;
  return openBus({ url: natsUrl, credentialsFile, user: replica, name: `replica/${name}.${namespace}/${replica}` });
};

/** The reason a mode did not start; undefined when it did. */
const startMode = (mode: Mode): Promise<string | undefined> => mode.start().then(() => undefined, describeError);

const run = async ({ launch, fault }: ObtainedLaunch, config: WatchdogConfig): Promise<void> => {
  const tree = processTree(process.pid);
  const ending = createEnding();
  const secrets = launch.secrets && openSecretFiles(launch.replica, launch.secrets);
  const mode = createFunction(launch, config, ending);
  // The function starts while the connection is made: both take a while, and neither needs the other.
  const starting = fault === undefined ? startMode(mode) : Promise.resolve(fault);
  const credentials = openCredentials(launch);
  const bus = await openReplicaBus(launch, credentials.source);
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
    onRenew: credentials.onRenew,
    onSecret: secrets?.renew,
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
  scheduleRenewal(credentials.source, replica);
  if (credentials.onRenew) endWhenLapsed(bus, credentials.source, (reason) => ending.end(1, reason));
  await replica.open();
  if (launch.readyLink) symlinkSync(launch.readyLink.target, launch.readyLink.path);
};

// The provider sends the launch as soon as the container runs.
const launchMs = 10_000;

/** A handler runs in this process, and sees its environment and its folder; what it forks from `process.execPath` must start. */
const becomeFunction = ({ cwd, env, inherit, loaderArguments }: ReplicaLaunch): void => {
  process.chdir(cwd);
  if (inherit) {
    for (const name of Object.keys(process.env)) Reflect.deleteProperty(process.env, name);
    Object.assign(process.env, env);
  }
  if (loaderArguments) process.execArgv.unshift(...loaderArguments);
};

try {
  const sources = {
    openInput: () => process.stdin,
    env: process.env,
    withinMs: launchMs,
    enrol: (bootstrap: string) => enrol(bootstrap, process.env[taskVariable]),
  };
  const obtained = await readLaunch(process.argv[2], sources);
  const { launch } = obtained;
  const config = readWatchdogConfig(launch.env, launch.command);
  if (config.mode === "handler") becomeFunction(launch);
  await run(obtained, config);
} catch (error) {
  process.stderr.write(`${describeError(error)}\n`);
  process.exit(1);
}
