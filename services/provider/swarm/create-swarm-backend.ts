import { join } from "node:path";
import type Docker from "dockerode";
import { stores } from "../../../schemas/topology.ts";
import { openStore } from "../../bus/objects.ts";
import type { ServiceBackend } from "../backend.ts";
import type { ProviderConfig } from "../config.ts";
import { type ContainerConfig, openContainerParts } from "../container/container-parts.ts";
import { createRegistryAuth } from "../container/registry-auth.ts";
import type { BackendParts } from "../create-backend.ts";
import { openBundleArchives } from "./bundle-archives.ts";
import type { HealthTimes } from "./service-spec.ts";
import { openSwarmBackend } from "./swarm-backend.ts";

/** What of a provider's configuration matters here. */
export type SwarmConfig = ContainerConfig & Pick<ProviderConfig, "watchdogImage" | "swarmNetwork">;

/**
 * Opens the swarm backend with all that it is made of, on the engine that the standard variables name, or on a given one.
 * Throws `unsupported` with what to do when none answers, or one that is no manager.
 */
export const createSwarmBackend = async (
  config: SwarmConfig,
  given: BackendParts,
  { client, health }: { readonly client?: Docker; readonly health?: HealthTimes } = {},
): Promise<ServiceBackend> => {
  const { parts, stop } = await openContainerParts(config, given, { as: "as services", client });
  const { bus, signer, secrets: store } = given;
  const { dataFolder, watchdogFile, watchdogImage, baseImage, registryConfigFile: configFile } = config;
  const archives = await openBundleArchives(join(dataFolder, "bundle-archives"), await openStore(bus, stores.bundles));
  const backend = await openSwarmBackend({
    ...parts,
    dataFolder,
    watchdogFile,
    watchdogImage,
    bus,
    signer,
    findCredentials: createRegistryAuth({ configFile, secrets: store }),
    archives,
    baseImage,
    network: config.swarmNetwork,
    ...(health === undefined ? {} : { health }),
  });
  const close = async (): Promise<void> => {
    stop();
    parts.images.close();
    await backend.close();
  };
  return { ...backend, close };
};
