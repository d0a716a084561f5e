import { setTimeout as wait } from "node:timers/promises";
import type Docker from "dockerode";
import { replicaLabel } from "../container/labels.ts";
import { platformLabel } from "../container/platform-id.ts";
import { unlessGone } from "./unless-gone.ts";

const lookMs = 50;

const list = (docker: Docker, platform: string) =>
  docker.listContainers({ all: true, filters: { label: [`${platformLabel}=${platform}`] } });

/** Those of replicas that run: what else there is has nothing to finish. */
const listRunning = (docker: Docker, platform: string) =>
  docker.listContainers({ filters: { label: [`${platformLabel}=${platform}`, replicaLabel] } });

/** Removes every container of a platform at once, whatever it is at. */
export const removeContainers = async (docker: Docker, platform: string): Promise<void> => {
  const left = await list(docker, platform);
  await Promise.all(left.map(({ Id }) => unlessGone(docker.getContainer(Id).remove({ force: true, v: true }))));
};

/** Lets the containers of a platform end in order for `graceMs`, and removes what is left then. */
export const stopContainers = async (docker: Docker, platform: string, graceMs: number): Promise<void> => {
  const running = await listRunning(docker, platform);
  await Promise.all(running.map(({ Id }) => unlessGone(docker.getContainer(Id).kill({ signal: "SIGTERM" }))));
  const endMs = performance.now() + graceMs;
  while (performance.now() < endMs && (await listRunning(docker, platform)).length > 0) await wait(lookMs);
  await removeContainers(docker, platform);
};
