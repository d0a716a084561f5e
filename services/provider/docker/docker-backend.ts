import type { FunctionSpec } from "../../../schemas/function.ts";
import type { FunctionName } from "../../../schemas/names.ts";
import type { Log } from "../../runtime/log.ts";
import type { Backend, ReplicaExit } from "../backend.ts";
import { openHeldCredentials, type SendOrder } from "../container/keep-credentials.ts";
import { assertContainerLimits, listUnenforcedInContainer } from "../container/resources.ts";
import { toRunSpec } from "../container/run-spec.ts";
import { openNamespaceNetworks } from "./namespace-networks.ts";
import { openReadyNetworks } from "./ready-networks.ts";
import { openReplicaContainers } from "./replica-containers.ts";
import { createStarter, functionDigest, type StarterOptions } from "./start-replica.ts";

/** What the docker backend needs. */
export interface DockerBackendOptions extends StarterOptions {
  readonly sendOrder: SendOrder;
  /** Writes a line into a replica's log. */
  readonly logLine: (replica: FunctionName & { readonly id: string }, text: string) => void;
  readonly log: Log;
}

/**
 * Runs each replica as a container of one Docker engine: of the function's image, or of a base image with the bundle
 * mounted into it. Replicas outlive the provider; the next one finds them by their labels.
 */
export const openDockerBackend = (options: DockerBackendOptions): Backend => {
  const { docker, platform, images, volumes, secrets, log } = options;
  const networks = openNamespaceNetworks(docker, platform);
  const credentials = openHeldCredentials(options.credentials, options.sendOrder, log);
  let listener: (exit: ReplicaExit) => void = () => {};
  const forget = (id: string): void => {
    credentials.forget(id);
    secrets.forget(id);
  };
  const containers = openReplicaContainers({
    docker,
    platform,
    log,
    onExit: (exit) => {
      forget(exit.id);
      listener(exit);
    },
    onHolderEnd: (holder) => ready.lose(holder),
    isReadyHolder: (containerId) => ready.has(containerId),
    onOutOfMemory: (replica) => {
      const limit = replica.memoryLimit === undefined ? "" : `; the limit is ${replica.memoryLimit}`;
      options.logLine(replica, `a process of this replica was killed: out of memory${limit}`);
    },
  });
  const ready = openReadyNetworks({ docker, platform, networks, remove: containers.remove, log });
  /** Specs of functions that are being deployed, and of starts under way. */
  const held = new Set<{ readonly spec: FunctionSpec }>();
  const hold = (spec: FunctionSpec): (() => void) => {
    const entry = { spec };
    held.add(entry);
    return () => void held.delete(entry);
  };

  const starter = createStarter({ options, networks, ready, containers, credentials });

  return {
    prepare: async (spec, tell) => {
      assertContainerLimits(spec);
      const releases = [hold(spec)];
      const release = (): void => releases.forEach((free) => free());
      try {
        releases.push((await images.ensure(await toRunSpec(spec, options.baseImages), tell)).release);
        await Promise.all([volumes.ensureWatchdogVolume(), starter.ensureBundle(spec)]);
        return release;
      } catch (error) {
        release();
        throw error;
      }
    },
    listUnenforced: listUnenforcedInContainer,
    cores: starter.cores,
    start: async (start) => {
      containers.begin(start.id);
      const release = hold(start.spec);
      try {
        await starter.start(start);
      } catch (error) {
        forget(start.id);
        throw error;
      } finally {
        release();
        containers.settle(start.id);
      }
    },
    renewSecret: secrets.renew,
    stop: containers.stop,
    kill: containers.kill,
    freeze: containers.freeze,
    thaw: containers.thaw,
    catchUp: (id) => {
      secrets.catchUp(id);
      credentials.renew(id);
    },
    adopt: async () => {
      // What is told of adopted replicas tells of the cores, too.
      const [found] = await Promise.all([containers.adopt(), starter.countCores()]);
      for (const { key, replica, imageId, secrets: names } of found) {
        const { id, namespace, name, revision } = replica;
        images.pin({ namespace, name, revision }, imageId);
        secrets.adopt({ id, namespace, names });
        credentials.keep({ namespace, name, replica: id, key });
        credentials.renew(id);
      }
      await ready.adopt(new Set(found.flatMap(({ holder }) => holder ?? [])));
      return found.map(({ replica }) => replica);
    },
    onExit: (given) => {
      listener = given;
    },
    collect: async (inUse) => {
      // A container keeps its network until it is removed.
      await containers.untilRemoved();
      const running = containers.all();
      const specs = [...inUse, ...[...held].map(({ spec }) => spec)];
      const digests = [...specs.map(functionDigest), ...running.map(({ digest }) => digest)];
      const namespaces = new Set([...specs, ...running].map(({ namespace }) => namespace));
      await ready.keep(namespaces);
      await networks.collect(namespaces);
      images.collect([...specs, ...running]);
      await volumes.collect(new Set(digests.flatMap((digest) => digest ?? [])));
    },
    close: async () => {
      credentials.close();
      images.close();
      await ready.close();
      await containers.close();
    },
  };
};
