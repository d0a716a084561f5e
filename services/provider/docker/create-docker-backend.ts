import { join } from "node:path";
import type Docker from "dockerode";
import { stores } from "../../../schemas/topology.ts";
import { openStore } from "../../bus/objects.ts";
import type { Backend } from "../backend.ts";
import { openBundleCache } from "../bundle-cache.ts";
import { openBaseImage } from "../container/base-image.ts";
import { type ContainerConfig, openContainerParts } from "../container/container-parts.ts";
import { openVolumes } from "../container/volumes.ts";
import { makeWatchdogFolder } from "../container/watchdog-folder.ts";
import type { BackendParts } from "../create-backend.ts";
import { logNote } from "../replica-ends.ts";
import { openDockerBackend } from "./docker-backend.ts";

/** What of a provider's configuration matters here. */
export type DockerConfig = ContainerConfig;

/**
 * Opens the docker backend with all that it is made of, on the engine that the standard variables name, or on a given one.
 * Throws `unsupported` with what to do when none answers.
 */
export const createDockerBackend = async (
  config: DockerConfig,
  given: BackendParts,
  client?: Docker,
): Promise<Backend> => {
  const { parts, stop } = await openContainerParts(config, given, { as: "in containers", client });
  const { docker, platform } = parts;
  const { dataFolder, watchdogFile } = config;
  const bundles = await openBundleCache(join(dataFolder, "bundles"), await openStore(given.bus, stores.bundles));
  const backend = openDockerBackend({
    ...parts,
    volumes: openVolumes({
      docker,
      platform,
      watchdogFolder: () => makeWatchdogFolder(join(dataFolder, "watchdog"), watchdogFile),
      bundles,
    }),
    baseImages: { configured: config.baseImage, own: openBaseImage(docker) },
    logLine: (replica, text) => logNote(given.bus, replica, text),
  });
  const close = async (): Promise<void> => {
    stop();
    await backend.close();
  };
  return { ...backend, close };
};
