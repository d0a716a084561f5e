import { setTimeout as wait } from "node:timers/promises";
import type Docker from "dockerode";
import { platformLabel } from "../container/platform-id.ts";
import { unlessGone } from "./unless-gone.ts";

const lookMs = 50;

const list = (docker: Docker, platform: string, all: boolean) =>
  docker.listContainers({ all, filters: { label: [`${platformLabel}=${platform}`] } });

/** Removes every container of a platform at once, whatever it is at. */
export const removeContainers = async (docker: Docker, platform: string): Promise<void> => {
  const left = await list(docker, platform, true);
  await Promise.all(left.map(({ Id }) => unlessGone(docker.getContainer(Id).remove({ force: true, v: true }))));
};

/** Lets the containers of a platform end in order for `graceMs`, and removes what is left then. */
export const stopContainers = async (docker: Docker, platform: string, graceMs: number): Promise<void> => {
  const running = await list(docker, platform, false);
  await Promise.all(running.map(({ Id }) => unlessGone(docker.getContainer(Id).kill({ signal: "SIGTERM" }))));
  const endMs = performance.now() + graceMs;
  while (performance.now() < endMs && (await list(docker, platform, false)).length > 0) await wait(lookMs);
  await removeContainers(docker, platform);
};
