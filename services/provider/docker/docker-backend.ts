import { describeError } from "../../runtime/log.ts";
import type Docker from "dockerode";
import { BuskerError } from "../../../schemas/errors.ts";
import { bundleDigest, type FunctionSpec } from "../../../schemas/function.ts";
import type { FunctionName } from "../../../schemas/names.ts";
import { parseCredentials, publicKeyOf } from "../../bus/credentials.ts";
import type { Log } from "../../runtime/log.ts";
import type { Backend, ReplicaExit, ReplicaStart } from "../backend.ts";
import { buildContainerLaunch, startWithLaunch } from "../container/container-launch.ts";
import { engineReason } from "../container/engine-error.ts";
import type { Images } from "../container/images.ts";
import { openHeldCredentials, type SendOrder } from "../container/keep-credentials.ts";
import type { ReplicaSecrets } from "../container/replica-secrets.ts";
import { listUnenforcedInContainer } from "../container/resources.ts";
import { type BaseImages, toRunSpec } from "../container/run-spec.ts";
import type { Volumes } from "../container/volumes.ts";
import type { Credentials } from "../replica-credentials.ts";
import { openNamespaceNetworks } from "./namespace-networks.ts";
import { openReplicaContainers } from "./replica-containers.ts";
import { functionImage, type ReplicaContainer, replicaOptions } from "./replica-options.ts";

/** What the docker backend needs. */
export interface DockerBackendOptions {
  readonly docker: Docker;
  /** Id of the platform. */
  readonly platform: string;
  /** As containers reach it. */
  readonly natsUrl: string;
  /** Most processes of one container. */
  readonly pidsLimit: number;
  readonly credentials: Credentials;
  readonly images: Images;
  readonly volumes: Volumes;
  readonly baseImages: BaseImages;
  readonly secrets: ReplicaSecrets;
  readonly sendOrder: SendOrder;
  /** Writes a line into a replica's log. */
  readonly logLine: (replica: FunctionName & { readonly id: string }, text: string) => void;
  readonly log: Log;
}

const digestOf = ({ image }: FunctionSpec): string | undefined => bundleDigest(image);

const startFailed = (cause: unknown): BuskerError =>
  cause instanceof BuskerError
    ? cause
    : new BuskerError("start_failed", `the engine could not start a container: ${engineReason(cause)}`);

/**
 * Runs each replica as a container of one Docker engine: of the function's image, or of a base image with the bundle
 * mounted into it. Replicas outlive the provider; the next one finds them by their labels.
 */
export const openDockerBackend = (options: DockerBackendOptions): Backend => {
  const { docker, platform, natsUrl, pidsLimit, images, volumes, secrets, log } = options;
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
    onOutOfMemory: (replica) => {
      const limit = replica.memoryLimit === undefined ? "" : `; the limit is ${replica.memoryLimit}`;
      options.logLine(replica, `a process of this replica was killed: out of memory${limit}`);
    },
  });
  /** Specs of functions that are being deployed, and of starts under way. */
  const held = new Set<{ readonly spec: FunctionSpec }>();
  const hold = (spec: FunctionSpec): (() => void) => {
    const entry = { spec };
    held.add(entry);
    return () => void held.delete(entry);
  };

  const ensureBundle = async (spec: FunctionSpec): Promise<string | undefined> => {
    const digest = digestOf(spec);
    return digest === undefined ? undefined : (await volumes.ensureBundleVolume(digest)).name;
  };

  /** All that a start waits for besides the engine; each is asked for at once, and most of it is there. */
  const gather = async (start: ReplicaStart) => {
    const { spec, id, revision } = start;
    const [image, watchdog, bundleVolume, network, text] = await Promise.all([
      toRunSpec(spec, options.baseImages).then((run) => images.ofRevision({ spec: run, revision }, () => {})),
      volumes.ensureWatchdogVolume(),
      ensureBundle(spec),
      networks.ensure(spec.namespace),
      options.credentials.mint({ namespace: spec.namespace, name: spec.name, replica: id }),
    ]);
    const config = functionImage(image.config, digestOf(spec) !== undefined);
    const key = publicKeyOf(parseCredentials(text).jwt);
    const place = { folder: watchdog.folder, natsUrl, credentials: text, secrets: secrets.launchSecrets(id, spec) };
    const launch = buildContainerLaunch(start, config, place);
    const container: ReplicaContainer = {
      start,
      platform,
      key,
      imageId: image.id,
      image: config,
      watchdog,
      bundleVolume,
      network,
      pidsLimit,
    };
    return { key, launch, container };
  };

  const run = async (start: ReplicaStart): Promise<void> => {
    const { id, spec } = start;
    const { namespace, name } = spec;
    const { key, launch, container: wanted } = await gather(start);
    const container = await docker.createContainer(replicaOptions(wanted));
    // Before it runs: it may end before the engine's answer is here.
    containers.enter({
      id,
      namespace,
      name,
      containerId: container.id,
      memoryLimit: spec.limits?.memory,
      digest: digestOf(spec),
    });
    try {
      await startWithLaunch(container, launch);
    } catch (error) {
      containers.leave(id);
      await containers.remove(container.id);
      throw error;
    }
    credentials.keep({ namespace, name, replica: id, key });
  };

  return {
    prepare: async (spec, tell) => {
      const releases = [hold(spec)];
      const release = (): void => releases.forEach((free) => free());
      try {
        releases.push((await images.ensure(await toRunSpec(spec, options.baseImages), tell)).release);
        await Promise.all([volumes.ensureWatchdogVolume(), ensureBundle(spec)]);
        return release;
      } catch (error) {
        release();
        throw error;
      }
    },
    listUnenforced: listUnenforcedInContainer,
    start: async (start) => {
      containers.begin(start.id);
      const release = hold(start.spec);
      try {
        await run(start);
      } catch (error) {
        forget(start.id);
        // It may be that somebody has removed it.
        networks.forget(start.spec.namespace);
        throw startFailed(error);
      } finally {
        release();
        containers.settle(start.id);
      }
    },
    renewSecret: secrets.renew,
    stop: containers.stop,
    kill: containers.kill,
    freeze: async (id) => {
      const replica = containers.find(id);
      if (replica) await unlessDone(docker.getContainer(replica.containerId).pause());
    },
    thaw: async (id) => {
      const replica = containers.find(id);
      if (replica) await unlessDone(docker.getContainer(replica.containerId).unpause());
    },
    catchUp: (id) => {
      secrets.catchUp(id);
      credentials.renew(id);
    },
    adopt: async () => {
      const found = await containers.adopt();
      for (const { key, replica, imageId, secrets: names } of found) {
        const { id, namespace, name, revision } = replica;
        images.pin({ namespace, name, revision }, imageId);
        secrets.adopt({ id, namespace, names });
        credentials.keep({ namespace, name, replica: id, key });
        credentials.renew(id);
      }
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
      const digests = [...specs.map(digestOf), ...running.map(({ digest }) => digest)];
      await networks.collect(new Set([...specs, ...running].map(({ namespace }) => namespace)));
      images.collect([...specs, ...running]);
      await volumes.collect(new Set(digests.flatMap((digest) => digest ?? [])));
    },
    close: async () => {
      credentials.close();
      images.close();
      await containers.close();
    },
  };
};

/** Passes over the engine's word that a container is paused already, or is not: somebody else did the same by hand. */
const unlessDone = async (change: Promise<unknown>): Promise<void> => {
  await change.catch((error: unknown) => {
    if (!/is (already|not) paused/.test(describeError(error))) throw error;
  });
};
