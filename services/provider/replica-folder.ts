import {
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { ReplicaLaunch } from "../../schemas/launch.ts";
import type { FoundReplica } from "./backend.ts";
import { isAlive, isStopped, type ProcessIdentity } from "./process-identity.ts";

/*
 * The folder of one replica: all that is known of it, so that a provider that comes back needs no memory. Everything
 * here is small and done at once: in a cold start, six file operations take a fifth of a millisecond, and each would
 * wait a turn of the event loop longer by promises (measured).
 */

/** Where things are in a replica's folder. */
export interface ReplicaPaths {
  readonly folder: string;
  readonly launch: string;
  readonly credentials: string;
  readonly process: string;
  /** There when the replica was told to stop. */
  readonly stopping: string;
  /** What the watchdog itself writes. */
  readonly log: string;
  /** Names the control group of a replica with a CPU limit. */
  readonly cpuGroup: string;
  readonly tmp: string;
  readonly home: string;
}

/** The paths of a replica's folder. */
export const replicaPaths = (root: string, id: string): ReplicaPaths => {
  const folder = join(root, id);
  return {
    folder,
    launch: join(folder, "launch.json"),
    credentials: join(folder, "creds"),
    process: join(folder, "process.json"),
    stopping: join(folder, "stopping"),
    log: join(folder, "watchdog.log"),
    cpuGroup: join(folder, "cgroup"),
    tmp: join(folder, "tmp"),
    home: join(folder, "home"),
  };
};

const writePrivately = (file: string, text: string): void => writeFileSync(file, text, { mode: 0o600 });

/** Makes a replica's folder with what its watchdog reads. */
export const makeReplicaFolder = (paths: ReplicaPaths, launch: ReplicaLaunch, credentials: string): void => {
  for (const folder of [paths.folder, paths.tmp, paths.home]) mkdirSync(folder, { mode: 0o700 });
  writePrivately(paths.launch, JSON.stringify(launch));
  writePrivately(paths.credentials, credentials);
};

/** Puts new credentials in the old ones' place: a reader sees the old or the new, whole. */
export const replaceCredentials = (paths: ReplicaPaths, credentials: string): void => {
  writePrivately(`${paths.credentials}.new`, credentials);
  renameSync(`${paths.credentials}.new`, paths.credentials);
};

/** When the credentials were written, milliseconds since the epoch. */
export const credentialsTime = (paths: ReplicaPaths): number => statSync(paths.credentials).mtimeMs;

/** Notes which process the replica is. */
export const writeProcess = (paths: ReplicaPaths, identity: ProcessIdentity): void =>
  writePrivately(paths.process, JSON.stringify(identity));

/** Notes the folder of the replica's control group: to be done before it is made, so that it is found whatever happens. */
export const noteCpuGroup = (paths: ReplicaPaths, folder: string): void => writePrivately(paths.cpuGroup, folder);

/** The folder of the replica's control group; undefined for a replica without a CPU limit. */
export const readCpuGroup = (paths: ReplicaPaths): string | undefined =>
  existsSync(paths.cpuGroup) ? readFileSync(paths.cpuGroup, "utf8") || undefined : undefined;

/** Notes that the replica was told to stop. */
export const markStopping = (paths: ReplicaPaths): void => writePrivately(paths.stopping, "");

/** Opens the watchdog's own log; to be closed once the process has it. */
export const openLog = (paths: ReplicaPaths): number => openSync(paths.log, "a", 0o600);

const shownCharacters = 2000;
const shownOfLine = 300;

// When V8 runs out of memory, a page of addresses follows the one line that says so.
const isNativeFrame = (line: string): boolean => /^\s*\d+: 0x[0-9a-f]+/.test(line);

/** The telling end of what a Node process wrote to stderr. */
export const trimOutput = (text: string): string =>
  text
    .split("\n")
    .filter((line) => !isNativeFrame(line))
    // The watchdog is one minified file: a line of it may be all of it.
    .map((line) => (line.length > shownOfLine ? `${line.slice(0, shownOfLine)}…` : line))
    .join("\n")
    .trim()
    .slice(-shownCharacters);

/** The end of what the watchdog itself wrote; empty when it wrote nothing. */
export const readLog = (paths: ReplicaPaths): string => {
  try {
    return trimOutput(readFileSync(paths.log, "utf8"));
  } catch {
    return "";
  }
};

/** Removes the folder with all that the function left in it. */
export const removeReplicaFolder = (paths: ReplicaPaths): void =>
  rmSync(paths.folder, { recursive: true, force: true });

/** A replica of an earlier provider that still runs. */
export interface LeftReplica {
  readonly identity: ProcessIdentity;
  readonly found: FoundReplica;
  readonly bundleFolder: string;
}

/** A replica's folder of an earlier provider. */
export interface LeftFolder {
  readonly id: string;
  /** Undefined when its process has ended, or was never noted. */
  readonly running: LeftReplica | undefined;
}

const readRunning = (paths: ReplicaPaths, id: string): LeftFolder["running"] => {
  try {
    const identity = JSON.parse(readFileSync(paths.process, "utf8")) as ProcessIdentity;
    if (!isAlive(identity)) return undefined;
    const launch = JSON.parse(readFileSync(paths.launch, "utf8")) as ReplicaLaunch;
    const { namespace, name, revision, timeoutMs } = launch;
    const startedMs = statSync(paths.process).mtimeMs;
    const found = {
      id,
      namespace,
      name,
      revision,
      timeoutMs,
      startedMs,
      stopping: existsSync(paths.stopping),
      frozen: isStopped(identity),
    };
    return { identity, found, bundleFolder: launch.cwd };
  } catch {
    // The provider was killed while it wrote: the replica is swept away by its marker and started anew.
    return undefined;
  }
};

/** Every replica's folder that is there. */
export const listReplicaFolders = (root: string): readonly LeftFolder[] =>
  readdirSync(root).map((id) => ({ id, running: readRunning(replicaPaths(root, id), id) }));
