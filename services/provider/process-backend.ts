import { closeSync, mkdirSync } from "node:fs";
import { spawn, type ChildProcess } from "node:child_process";
import { availableParallelism } from "node:os";
import { basename, dirname, join } from "node:path";
import { BuskerError } from "../../schemas/errors.ts";
import { bundleDigest, type FunctionSpec } from "../../schemas/function.ts";
import type { ReplicaLaunch } from "../../schemas/launch.ts";
import type { SamplingPolicy } from "../../schemas/span.ts";
import type { ObjectStore } from "../bus/objects.ts";
import { describeError, type Log } from "../runtime/log.ts";
import { memoryFolder } from "../runtime/secret-memory.ts";
import type { Backend, FoundReplica, ReplicaExit, ReplicaStart } from "./backend.ts";
import { openBundleCache } from "./bundle-cache.ts";
import {
  type CpuLimits,
  cpuGroupFolder,
  findCpuLimits,
  joinCpuGroup,
  makeCpuGroup,
  removeCpuGroup,
} from "./cpu-groups.ts";
import { continueProcesses, killProcesses, pauseProcesses } from "./pause-processes.ts";
import { identify, type ProcessIdentity, signalProcess } from "./process-identity.ts";
import { type Credentials, keepCredentials } from "./replica-credentials.ts";
import {
  type LeftReplica,
  listReplicaFolders,
  makeReplicaFolder,
  markStopping,
  noteCpuGroup,
  openLog,
  readCpuGroup,
  readLog,
  removeReplicaFolder,
  type ReplicaPaths,
  replicaPaths,
  writeProcess,
} from "./replica-folder.ts";
import { buildLaunch, cpuLimit, isHandler, markerVariable, watchdogFlags } from "./replica-launch.ts";
import { markerOf, sweepReplica, watchAdopted } from "./replica-processes.ts";
import { openSecretFolders } from "./secret-folders.ts";
import type { SecretReader } from "./secret-store.ts";
import { listUnenforced } from "./unenforced.ts";

/** What the process backend needs. */
export interface ProcessBackendOptions {
  readonly dataFolder: string;
  readonly natsUrl: string;
  readonly watchdogFile: string;
  /** Which calls of replicas are traced; undefined while tracing is off. */
  readonly traces?: SamplingPolicy | undefined;
  /** PATH of watchdogs and functions. */
  readonly path: string;
  readonly credentials: Credentials;
  readonly bundles: ObjectStore;
  readonly secrets: SecretReader;
  readonly log: Log;
  /** A file system in memory, for secrets. Default: Linux' own. */
  readonly memoryFolder?: string;
  /** Default: what this machine lets us do. */
  readonly cpuLimits?: CpuLimits;
}

interface Running {
  readonly bundleFolder: string;
  readonly paths: ReplicaPaths;
  readonly identity: ProcessIdentity;
  /** Its processes, all stopped; empty while it is not frozen. */
  frozen: readonly ProcessIdentity[];
}

const digestOf = (spec: FunctionSpec): string => {
  const digest = bundleDigest(spec.image);
  if (digest !== undefined) return digest;
  throw new BuskerError(
    "unsupported",
    `image must be bundle:sha256:<64 hex digits>, because the process backend runs bundles only; got ${JSON.stringify(spec.image)}`,
  );
};

/**
 * Runs each replica as processes of this machine: a watchdog in its own session and folder, from a bundle of the object
 * store. Replicas outlive the provider; the next one finds them by their folders.
 */
export const openProcessBackend = async (options: ProcessBackendOptions): Promise<Backend> => {
  const root = join(options.dataFolder, "replicas");
  mkdirSync(root, { recursive: true, mode: 0o700 });
  const cache = await openBundleCache(join(options.dataFolder, "bundles"), options.bundles);
  const running = new Map<string, Running>();
  const renewal = keepCredentials(options.credentials);
  const cpuLimits = options.cpuLimits ?? findCpuLimits();
  const { dataFolder, secrets, log, memoryFolder: memory = memoryFolder } = options;
  const secretFolders = openSecretFolders({ dataFolder, replicas: root, memory, secrets, log });
  let listener: (exit: ReplicaExit) => void = () => {};

  const clearReplica = async (id: string, paths: ReplicaPaths): Promise<void> => {
    secretFolders.remove(id);
    await clearFolder(paths);
  };
  // A process that even SIGKILL does not end hangs in the kernel: the folder stays, and the next provider tries again.
  const clear = (id: string, paths: ReplicaPaths): Promise<void> =>
    clearReplica(id, paths).catch((error: unknown) =>
      options.log.warn("could not clear up after a replica", { replica: id, error: describeError(error) }),
    );

  const onGone = (id: string, code: number | null, signal: NodeJS.Signals | null): void => {
    const replica = running.get(id);
    if (!replica) return;
    running.delete(id);
    renewal.forget(id);
    const output = readLog(replica.paths);
    end(replica);
    void clear(id, replica.paths).then(() => listener({ id, code, signal, output }));
  };
  const adopted = watchAdopted((id) => onGone(id, null, null));

  const spawnWatchdog = ({ spec }: ReplicaStart, { env }: ReplicaLaunch, paths: ReplicaPaths): ChildProcess => {
    const log = openLog(paths);
    try {
      return spawn(process.execPath, [...watchdogFlags(spec), options.watchdogFile, paths.launch], {
        cwd: dirname(options.watchdogFile),
        env: isHandler(spec) ? env : { PATH: options.path, [markerVariable]: paths.tmp },
        stdio: ["ignore", log, log],
        // A session of its own: neither Ctrl-C in our terminal nor our end reaches it.
        detached: true,
      });
    } finally {
      closeSync(log);
    }
  };

  /** The group of a replica with a CPU limit, where there can be one. */
  const makeGroup = async ({ id, spec }: ReplicaStart, paths: ReplicaPaths): Promise<string | undefined> => {
    const millicores = cpuLimit(spec);
    if (millicores === undefined || cpuLimits.kind === "none") return undefined;
    const folder = cpuGroupFolder(cpuLimits.parent, id);
    noteCpuGroup(paths, folder);
    try {
      makeCpuGroup(cpuLimits.parent, folder, millicores);
      return folder;
    } catch (error) {
      await clearReplica(id, paths);
      throw limitRefused(error);
    }
  };

  const failStart = async (
    id: string,
    child: ChildProcess,
    paths: ReplicaPaths,
    refusal?: BuskerError,
  ): Promise<never> => {
    const error = await endStart(child, paths, refusal);
    await clearReplica(id, paths);
    throw error;
  };

  const giveSecrets = async ({ id, spec }: ReplicaStart, paths: ReplicaPaths): Promise<void> => {
    if (!hasSecrets(spec)) return;
    try {
      secretFolders.write({ id, namespace: spec.namespace, names: spec.secrets });
    } catch (error) {
      await clearReplica(id, paths);
      throw new BuskerError("start_failed", `could not give a replica its secrets: ${describeError(error)}`, {
        cause: error,
      });
    }
  };

  // Between the process' start and the note of it nothing is awaited: a provider that dies here leaves a process
  // without a note, which the next one finds by its marker.
  const launch = async (start: ReplicaStart, bundleFolder: string): Promise<void> => {
    const paths = replicaPaths(root, start.id);
    const secretFolder = hasSecrets(start.spec) ? secretFolders.folderOf(start.id) : undefined;
    const { natsUrl, traces, path } = options;
    const place = { paths, bundleFolder, natsUrl, traces, path, secretFolder };
    const { namespace, name } = start.spec;
    const credentials = await options.credentials.mint({ namespace, name, replica: start.id });
    const content = buildLaunch(start, place);
    makeReplicaFolder(paths, content, credentials);
    await giveSecrets(start, paths);
    const group = await makeGroup(start, paths);
    const child = spawnWatchdog(start, content, paths);
    const identity = child.pid === undefined ? undefined : identify(child.pid);
    if (!identity) return failStart(start.id, child, paths);
    const refusal = group === undefined ? undefined : joinGroup(group, identity.pid);
    if (refusal !== undefined) return failStart(start.id, child, paths, refusal);
    writeProcess(paths, identity);
    running.set(start.id, { paths, identity, bundleFolder, frozen: [] });
    renewal.keep({ namespace, name, replica: start.id }, paths);
    child.once("exit", (code, signal) => onGone(start.id, code, signal));
    child.unref();
  };

  const adopt = (id: string, { identity, found, bundleFolder }: LeftReplica): FoundReplica => {
    const paths = replicaPaths(root, id);
    // Its provider may have died in the middle of either.
    const frozen = found.frozen ? pauseProcesses(identity.pid, markerOf(paths)) : [];
    running.set(id, { paths, identity, bundleFolder, frozen });
    renewal.keep({ namespace: found.namespace, name: found.name, replica: id }, paths);
    secretFolders.adopt(id, found.namespace);
    adopted.watch(id, identity);
    return found;
  };

  return {
    prepare: async (spec) => {
      const digest = digestOf(spec);
      const release = cache.hold(digest);
      await cache.fetch(digest).catch((error: unknown) => {
        release();
        throw error;
      });
      return release;
    },
    cores: availableParallelism,
    listUnenforced: (spec) => [
      ...listUnenforced(spec, cpuLimits.kind === "none" ? cpuLimits.why : undefined),
      ...(hasSecrets(spec) && secretFolders.onDisk !== undefined
        ? [`secrets (${spec.secrets.join(", ")}) are on disk while a replica runs: ${secretFolders.onDisk}`]
        : []),
    ],
    renewSecret: secretFolders.renew,
    start: async (start) => {
      const digest = digestOf(start.spec);
      const release = cache.hold(digest);
      try {
        await launch(start, cache.find(digest) ?? (await cache.fetch(digest)));
      } finally {
        release();
      }
    },
    stop: (id) => {
      const replica = running.get(id);
      if (!replica) return;
      markStopping(replica.paths);
      signalProcess(replica.identity.pid, "SIGTERM");
      thaw(replica);
    },
    kill: (id) => {
      const replica = running.get(id);
      if (replica) end(replica);
    },
    freeze: async (id) => {
      const replica = running.get(id);
      if (replica) replica.frozen = pauseProcesses(replica.identity.pid, markerOf(replica.paths));
    },
    thaw: async (id) => {
      const replica = running.get(id);
      if (replica) thaw(replica);
    },
    adopt: async () => {
      const found: FoundReplica[] = [];
      for (const { id, running: left } of listReplicaFolders(root)) {
        const paths = replicaPaths(root, id);
        if (left) found.push(adopt(id, left));
        else {
          sweepReplica(paths);
          await clear(id, paths);
        }
      }
      secretFolders.sweep();
      return found;
    },
    onExit: (given) => {
      listener = given;
    },
    collect: (inUse) => {
      // A replica that drains may be of a bundle that no function names any more.
      const ofReplicas = [...running.values()].map(({ bundleFolder }) => basename(bundleFolder));
      return cache.collect(new Set([...inUse.flatMap((spec) => bundleDigest(spec.image) ?? []), ...ofReplicas]));
    },
    close: () => {
      renewal.close();
      adopted.close();
    },
  };
};

/** Ends a replica with all that it has started, frozen or not. */
const end = ({ paths, identity, frozen }: Running): void => {
  killProcesses(frozen);
  sweepReplica(paths, identity.pid);
};

const thaw = (replica: Running): void => {
  const { frozen } = replica;
  replica.frozen = [];
  continueProcesses(frozen);
};

const hasSecrets = (spec: FunctionSpec): spec is FunctionSpec & Required<Pick<FunctionSpec, "secrets">> =>
  (spec.secrets ?? []).length > 0;

/** Removes a replica's folder, and its control group before it: the folder is what tells of the group. */
const clearFolder = async (paths: ReplicaPaths): Promise<void> => {
  const group = readCpuGroup(paths);
  if (group !== undefined) await removeCpuGroup(group);
  removeReplicaFolder(paths);
};

const limitRefused = (cause: unknown): BuskerError =>
  new BuskerError("start_failed", `could not set a replica's CPU limit: ${describeError(cause)}`, { cause });

/** Puts a process into its group; gives what the kernel refuses. */
const joinGroup = (folder: string, pid: number): BuskerError | undefined => {
  try {
    joinCpuGroup(folder, pid);
    return undefined;
  } catch (error) {
    return limitRefused(error);
  }
};

/** Ends a start and gives why; `refusal` is why, where it is not the process' own end. */
const endStart = async (child: ChildProcess, paths: ReplicaPaths, refusal?: BuskerError): Promise<BuskerError> => {
  if (refusal) child.kill("SIGKILL");
  const cause = await new Promise<unknown>((resolve) => {
    child.once("error", resolve);
    child.once("exit", (code, signal) =>
      resolve(new Error(`it ended with ${signal ?? `exit code ${code}`}: ${readLog(paths)}`)),
    );
  });
  return refusal ?? new BuskerError("start_failed", `could not start a watchdog: ${describeError(cause)}`, { cause });
};
