import type Docker from "dockerode";
import { BuskerError } from "../../../schemas/errors.ts";
import { bundleDigest, type FunctionSpec } from "../../../schemas/function.ts";
import type { SamplingPolicy } from "../../../schemas/span.ts";
import { parseCredentials, publicKeyOf } from "../../bus/credentials.ts";
import type { ReplicaStart } from "../backend.ts";
import { buildContainerLaunch, startWithLaunch } from "../container/container-launch.ts";
import { engineReason, isLimitRefusal } from "../container/engine-error.ts";
import type { Images } from "../container/images.ts";
import type { HeldCredentials } from "../container/keep-credentials.ts";
import type { ReplicaSecrets } from "../container/replica-secrets.ts";
import { type BaseImages, functionImage, toRunSpec } from "../container/run-spec.ts";
import type { Volumes } from "../container/volumes.ts";
import type { Credentials } from "../replica-credentials.ts";
import type { NamespaceNetworks } from "./namespace-networks.ts";
import type { ReadyNetworks } from "./ready-networks.ts";
import type { ReplicaContainers } from "./replica-containers.ts";
import { type ReplicaContainer, replicaOptions } from "./replica-options.ts";

/** What replicas are made of, and where. */
export interface StarterOptions {
  readonly docker: Docker;
  /** Id of the platform. */
  readonly platform: string;
  /** As containers reach it. */
  readonly natsUrl: string;
  /** Which calls of replicas are traced; undefined while tracing is off. */
  readonly traces?: SamplingPolicy | undefined;
  /** Most processes of one container. */
  readonly pidsLimit: number;
  readonly credentials: Credentials;
  readonly images: Images;
  readonly volumes: Volumes;
  readonly baseImages: BaseImages;
  readonly secrets: ReplicaSecrets;
}

/** Starts replicas as containers. */
export interface Starter {
  /** The name of the volume with a function's bundle; undefined for a function of an image. */
  readonly ensureBundle: (spec: FunctionSpec) => Promise<string | undefined>;
  /** Throws `start_failed` with the engine's own reason; then nothing of the replica is left. */
  readonly start: (start: ReplicaStart) => Promise<void>;
  /** Asks for the cores of the engine's machine, once. Rejects with the engine's error. */
  readonly countCores: () => Promise<number>;
  /** Undefined while nobody has asked for them. */
  readonly cores: () => number | undefined;
}

/** What it works with. */
export interface StarterParts {
  readonly options: StarterOptions;
  readonly networks: Pick<NamespaceNetworks, "ensure" | "forget">;
  readonly ready: Pick<ReadyNetworks, "begin" | "take" | "release">;
  readonly containers: Pick<ReplicaContainers, "enter" | "leave" | "remove">;
  readonly credentials: Pick<HeldCredentials, "keep">;
}

/** The digest of a function's bundle; undefined for a function of an image. */
export const functionDigest = ({ image }: FunctionSpec): string | undefined => bundleDigest(image);

const startFailed = (cause: unknown): BuskerError => {
  if (cause instanceof BuskerError) return cause;
  const reason = engineReason(cause);
  return new BuskerError(
    isLimitRefusal(reason) ? "invalid_request" : "start_failed",
    `the engine could not start a container: ${reason}`,
  );
};

/** Makes it; nothing is asked of the engine before somebody asks for something. */
export const createStarter = ({ options, networks, ready, containers, credentials }: StarterParts): Starter => {
  const { docker, platform, natsUrl, traces, pidsLimit, images, volumes, secrets } = options;

  const ensureBundle = async (spec: FunctionSpec): Promise<string | undefined> => {
    const digest = functionDigest(spec);
    return digest === undefined ? undefined : (await volumes.ensureBundleVolume(digest)).name;
  };

  let known: number | undefined;
  /** Asked for once: an engine's machine keeps them. */
  const countCores = async (): Promise<number> => {
    known ??= ((await docker.info()) as { readonly NCPU: number }).NCPU;
    return known;
  };

  /** All that a start waits for besides the engine; each is asked for at once, and most of it is there. */
  const gather = async (start: ReplicaStart) => {
    const { spec, id, revision } = start;
    const [image, watchdog, bundleVolume, network, text, cores] = await Promise.all([
      toRunSpec(spec, options.baseImages).then((run) => images.ofRevision({ spec: run, revision }, () => {})),
      volumes.ensureWatchdogVolume(),
      ensureBundle(spec),
      networks.ensure(spec.namespace),
      options.credentials.mint({ namespace: spec.namespace, name: spec.name, replica: id }),
      countCores(),
    ]);
    const config = functionImage(image.config, functionDigest(spec) !== undefined);
    const key = publicKeyOf(parseCredentials(text).jwt);
    const { folder } = watchdog;
    const place = { folder, natsUrl, traces, credentials: text, secrets: secrets.launchSecrets(id, spec) };
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
      cores,
    };
    return { key, launch, container };
  };

  /** Makes a container and starts it; nothing of it is left when that fails. */
  const launchIn = async (
    { launch, container: wanted }: Awaited<ReturnType<typeof gather>>,
    holder: string | undefined,
  ): Promise<void> => {
    const { spec, id } = wanted.start;
    const { namespace, name } = spec;
    const network = holder === undefined ? wanted.network : `container:${holder}`;
    const container = await docker.createContainer(replicaOptions({ ...wanted, network }));
    const memoryLimit = spec.limits?.memory;
    // Before it runs: it may end before the engine's answer is here.
    containers.enter({
      id,
      namespace,
      name,
      containerId: container.id,
      memoryLimit,
      digest: functionDigest(spec),
      holder,
    });
    try {
      await startWithLaunch(container, launch);
    } catch (error) {
      containers.leave(id);
      await containers.remove(container.id);
      throw error;
    }
  };

  const run = async (start: ReplicaStart): Promise<void> => {
    const { id, spec } = start;
    const { namespace, name } = spec;
    const gathered = await gather(start);
    const holder = ready.take(namespace);
    try {
      await launchIn(gathered, holder);
    } catch (error) {
      if (holder === undefined) throw error;
      await ready.release(holder);
      // It may be the holder's fault, who may have ended a moment ago: with a network of its own it is the replica's.
      await launchIn(gathered, undefined);
    }
    credentials.keep({ namespace, name, replica: id, key: gathered.key });
  };

  return {
    ensureBundle,
    countCores,
    cores: () => known,
    start: async (start) => {
      const end = ready.begin();
      try {
        await run(start);
      } catch (error) {
        // It may be that somebody has removed it.
        networks.forget(start.spec.namespace);
        throw startFailed(error);
      } finally {
        end();
      }
    },
  };
};
