import type { ContainerCreateOptions } from "dockerode";
import type { ReplicaStart } from "../backend.ts";
import { containerOptions, volumeMount, type WatchdogVolume } from "../container/container-launch.ts";
import type { ImageConfig } from "../container/image.ts";
import { containerLabels } from "../container/labels.ts";
import { secretsLabels } from "../container/replica-secrets.ts";
import { containerResources, containerSecurity } from "../container/resources.ts";
import { bundleFolder } from "../container/run-spec.ts";
import { containerUser } from "../container/user.ts";

/** What a container of a replica is made of. */
export interface ReplicaContainer {
  readonly start: ReplicaStart;
  readonly platform: string;
  /** Public nkey of the replica's credentials. */
  readonly key: string;
  readonly imageId: string;
  readonly image: ImageConfig;
  readonly watchdog: WatchdogVolume;
  /** Undefined for a function of an image. */
  readonly bundleVolume: string | undefined;
  /** A network of the engine, or `container:<id>` for the network that this container has. */
  readonly network: string;
  readonly pidsLimit: number;
  /** Processors of the engine's machine. */
  readonly cores: number;
}

/** What the engine is asked for: the replica's id is the container's name. */
export const replicaOptions = (replica: ReplicaContainer): ContainerCreateOptions => {
  const { start, platform, key, image, bundleVolume } = replica;
  const { spec } = start;
  const options = containerOptions(spec, image, replica.watchdog);
  const mounts = options.HostConfig?.Mounts ?? [];
  return {
    ...options,
    name: start.id,
    Image: replica.imageId,
    User: containerUser(spec, image),
    // Where a handler finds itself: it runs in the watchdog's own process.
    WorkingDir: image.WorkingDir ?? "",
    Labels: { ...containerLabels({ ...start, platform, key }), ...secretsLabels(spec) },
    HostConfig: {
      ...options.HostConfig,
      ...containerSecurity(spec, replica.pidsLimit),
      ...containerResources(spec, replica.cores),
      NetworkMode: replica.network,
      Mounts: bundleVolume === undefined ? mounts : [...mounts, volumeMount(bundleVolume, bundleFolder)],
    },
  };
};
