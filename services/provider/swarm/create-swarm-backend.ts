import { join } from "node:path";
import type Docker from "dockerode";
import { replicaOrderSubject } from "../../../schemas/subjects.ts";
import { stores } from "../../../schemas/topology.ts";
import { openStore } from "../../bus/objects.ts";
import { openReplicaSecretKey } from "../../bus/sealing-keys.ts";
import { trustPaths } from "../../bus/trust-files.ts";
import type { ServiceBackend } from "../backend.ts";
import type { ProviderConfig } from "../config.ts";
import { catchUpWhenReady } from "../container/hear-ready.ts";
import { openImages } from "../container/images.ts";
import type { SendOrder } from "../container/keep-credentials.ts";
import { platformId } from "../container/platform-id.ts";
import { createRegistryAuth } from "../container/registry-auth.ts";
import { createReplicaSecrets } from "../container/replica-secrets.ts";
import type { BackendParts } from "../create-backend.ts";
import { connectEngine } from "../docker/connect-engine.ts";
import { createCredentials } from "../replica-credentials.ts";
import { openBundleArchives } from "./bundle-archives.ts";
import type { HealthTimes } from "./service-spec.ts";
import { openSwarmBackend } from "./swarm-backend.ts";

/** What of a provider's configuration matters here. */
export type SwarmConfig = Pick<
  ProviderConfig,
  | "dataFolder"
  | "watchdogFile"
  | "watchdogImage"
  | "swarmNetwork"
  | "replicaNatsUrl"
  | "replicaCredentialsTtlMs"
  | "pidsLimit"
  | "baseImage"
  | "imagePullPolicy"
  | "registryConfigFile"
>;

/**
 * Opens the swarm backend with all that it is made of, on the engine that the standard variables name, or on a given one.
 * Throws `unsupported` with what to do when none answers, or one that is no manager.
 */
export const createSwarmBackend = async (
  config: SwarmConfig,
  { bus, signer, secrets: store, log }: BackendParts,
  { client, health }: { readonly client?: Docker; readonly health?: HealthTimes } = {},
): Promise<ServiceBackend> => {
  const { docker, title } = await connectEngine(client);
  log.info("functions run as services", { engine: title });
  const platform = platformId(signer.account);
  const sendOrder: SendOrder = (replica, order) => bus.nc.publish(replicaOrderSubject(replica), JSON.stringify(order));
  const keyOf = await openReplicaSecretKey(trustPaths(config.dataFolder).sealingKey, platform);
  const secrets = createReplicaSecrets({ secrets: store, keyOf, sendOrder, log });
  const stopCatchingUp = catchUpWhenReady(bus, secrets);
  const { registryConfigFile: registryConfig, imagePullPolicy: policy } = config;
  const images = openImages({ docker, policy, registryConfigFile: registryConfig, secrets: store });
  const backend = await openSwarmBackend({
    docker,
    platform,
    dataFolder: config.dataFolder,
    watchdogFile: config.watchdogFile,
    watchdogImage: config.watchdogImage,
    natsUrl: config.replicaNatsUrl,
    bus,
    signer,
    credentials: createCredentials(signer, config.replicaCredentialsTtlMs),
    images,
    findCredentials: createRegistryAuth({ configFile: registryConfig, secrets: store }),
    secrets,
    archives: await openBundleArchives(
      join(config.dataFolder, "bundle-archives"),
      await openStore(bus, stores.bundles),
    ),
    baseImage: config.baseImage,
    sendOrder,
    pidsLimit: config.pidsLimit,
    network: config.swarmNetwork,
    ...(health === undefined ? {} : { health }),
    log,
  });
  const close = async (): Promise<void> => {
    stopCatchingUp();
    images.close();
    await backend.close();
  };
  return { ...backend, close };
};
