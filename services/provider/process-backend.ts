import { closeSync, mkdirSync } from "node:fs";
import { spawn, type ChildProcess } from "node:child_process";
import { basename, dirname, join } from "node:path";
import { BuskerError } from "../../schemas/errors.ts";
import { bundleDigest, type FunctionSpec } from "../../schemas/function.ts";
import type { ReplicaLaunch } from "../../schemas/launch.ts";
import type { ObjectStore } from "../bus/objects.ts";
import type { Backend, FoundReplica, ReplicaExit, ReplicaStart } from "./backend.ts";
import { openBundleCache } from "./bundle-cache.ts";
import { identify, type ProcessIdentity, signalProcess } from "./process-identity.ts";
import { type Credentials, keepCredentials } from "./replica-credentials.ts";
import {
  type LeftReplica,
  listReplicaFolders,
  makeReplicaFolder,
  markStopping,
  openLog,
  readLog,
  removeReplicaFolder,
  type ReplicaPaths,
  replicaPaths,
  writeProcess,
} from "./replica-folder.ts";
import { buildLaunch, isHandler, markerVariable, watchdogFlags } from "./replica-launch.ts";
import { sweepReplica, watchAdopted } from "./replica-processes.ts";

/** What the process backend needs. */
export interface ProcessBackendOptions {
  readonly dataFolder: string;
  readonly natsUrl: string;
  readonly watchdogFile: string;
  /** PATH of watchdogs and functions. */
  readonly path: string;
  readonly credentials: Credentials;
  readonly bundles: ObjectStore;
}

interface Running {
  readonly bundleFolder: string;
  readonly paths: ReplicaPaths;
  readonly identity: ProcessIdentity;
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
  let listener: (exit: ReplicaExit) => void = () => {};

  const onGone = (id: string, code: number | null, signal: NodeJS.Signals | null): void => {
    const replica = running.get(id);
    if (!replica) return;
    running.delete(id);
    renewal.forget(id);
    const output = readLog(replica.paths);
    sweepReplica(replica.paths, replica.identity.pid);
    removeReplicaFolder(replica.paths);
    listener({ id, code, signal, output });
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

  // Between the process' start and the note of it nothing is awaited: a provider that dies here leaves a process
  // without a note, which the next one finds by its marker.
  const launch = async (start: ReplicaStart, bundleFolder: string): Promise<void> => {
    const paths = replicaPaths(root, start.id);
    const place = { paths, bundleFolder, natsUrl: options.natsUrl, path: options.path };
    const { namespace, name } = start.spec;
    const credentials = await options.credentials.mint({ namespace, name, replica: start.id });
    const content = buildLaunch(start, place);
    makeReplicaFolder(paths, content, credentials);
    const child = spawnWatchdog(start, content, paths);
    const identity = child.pid === undefined ? undefined : identify(child.pid);
    if (!identity) return failStart(child, paths);
    writeProcess(paths, identity);
    running.set(start.id, { paths, identity, bundleFolder });
    renewal.keep({ namespace, name, replica: start.id }, paths);
    child.once("exit", (code, signal) => onGone(start.id, code, signal));
    child.unref();
  };

  const adopt = (id: string, { identity, found, bundleFolder }: LeftReplica): FoundReplica => {
    const paths = replicaPaths(root, id);
    running.set(id, { paths, identity, bundleFolder });
    renewal.keep({ namespace: found.namespace, name: found.name, replica: id }, paths);
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
    },
    kill: (id) => {
      const replica = running.get(id);
      if (replica) sweepReplica(replica.paths, replica.identity.pid);
    },
    adopt: async () =>
      listReplicaFolders(root).flatMap(({ id, running: left }) => {
        if (left) return [adopt(id, left)];
        const paths = replicaPaths(root, id);
        sweepReplica(paths);
        removeReplicaFolder(paths);
        return [];
      }),
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

const failStart = async (child: ChildProcess, paths: ReplicaPaths): Promise<never> => {
  const cause = await new Promise<unknown>((resolve) => {
    child.once("error", resolve);
    child.once("exit", (code, signal) =>
      resolve(new Error(`it ended with ${signal ?? `exit code ${code}`}: ${readLog(paths)}`)),
    );
  });
  removeReplicaFolder(paths);
  throw new BuskerError(
    "start_failed",
    `could not start a watchdog: ${cause instanceof Error ? cause.message : String(cause)}`,
    { cause },
  );
};
