import type Docker from "dockerode";
import type { ContainerInfo } from "dockerode";
import type { FoundReplica } from "../backend.ts";
import { readLabels, replicaLabel } from "../container/labels.ts";
import { platformLabel } from "../container/platform-id.ts";
import { readSecretsLabel } from "../container/replica-secrets.ts";

/** A replica of an earlier provider. */
export interface FoundContainer {
  readonly replica: FoundReplica;
  /** What its credentials are for. */
  readonly key: string;
  /** Names of its secrets. */
  readonly secrets: readonly string[];
  /** Id of the image that it runs from. */
  readonly imageId: string;
  /** The container whose network it has; undefined for one with a network of its own. */
  readonly holder: string | undefined;
}

/** The containers of a platform's replicas, whatever they are at. */
export const listReplicaContainers = (docker: Docker, platform: string): Promise<readonly ContainerInfo[]> =>
  docker.listContainers({ all: true, filters: { label: [`${platformLabel}=${platform}`, replicaLabel] } });

const stoppingEnding = ".stopping";

/** The name of a container that was told to stop: by it another provider knows. */
export const stoppingName = (id: string): string => `${id}${stoppingEnding}`;

const endedStates: readonly string[] = ["exited", "dead", "removing"];
const runningStates: readonly string[] = ["running", "paused", "restarting"];

/** Whether a container in this state runs no more. */
export const hasEnded = (state: string): boolean => endedStates.includes(state);

/** The replica whose container runs; undefined for a container that does not run, or is none of a replica. */
export const findRunning = (info: ContainerInfo): FoundContainer | undefined => {
  const labelled = runningStates.includes(info.State) ? readLabels(info.Labels) : undefined;
  if (!labelled) return undefined;
  const { key, ...named } = labelled;
  const startedMs = info.Created * 1000;
  const stopping = info.Names.some((name) => name.endsWith(stoppingEnding));
  const replica = { ...named, startedMs, stopping, frozen: info.State === "paused" };
  const holder = /^container:(.+)$/.exec(info.HostConfig.NetworkMode)?.[1];
  return { key, replica, secrets: readSecretsLabel(info.Labels), imageId: info.ImageID, holder };
};
