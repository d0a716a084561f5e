import { join } from "node:path";
import type Docker from "dockerode";
import { replicaOrderSubject } from "../../../schemas/subjects.ts";
import { stores } from "../../../schemas/topology.ts";
import type { Bus } from "../../bus/connection.ts";
import { openStore } from "../../bus/objects.ts";
import { openReplicaSecretKey } from "../../bus/sealing-keys.ts";
import { trustPaths } from "../../bus/trust-files.ts";
import type { Backend } from "../backend.ts";
import { openBundleCache } from "../bundle-cache.ts";
import type { ProviderConfig } from "../config.ts";
import { openBaseImage } from "../container/base-image.ts";
import { catchUpWhenReady } from "../container/hear-ready.ts";
import { openImages } from "../container/images.ts";
import type { SendOrder } from "../container/keep-credentials.ts";
import { platformId } from "../container/platform-id.ts";
import { createReplicaSecrets } from "../container/replica-secrets.ts";
import { openVolumes } from "../container/volumes.ts";
import { makeWatchdogFolder } from "../container/watchdog-folder.ts";
import type { BackendParts } from "../create-backend.ts";
import { createCredentials } from "../replica-credentials.ts";
import { logNote } from "../replica-ends.ts";
import { connectEngine } from "./connect-engine.ts";
import { openDockerBackend } from "./docker-backend.ts";

const orderBy =
  (bus: Bus): SendOrder =>
  (replica, order) =>
    bus.nc.publish(replicaOrderSubject(replica), JSON.stringify(order));

/** What of a provider's configuration matters here. */
export type DockerConfig = Pick<
  ProviderConfig,
  | "dataFolder"
  | "watchdogFile"
  | "replicaNatsUrl"
  | "replicaCredentialsTtlMs"
  | "pidsLimit"
  | "baseImage"
  | "imagePullPolicy"
  | "registryConfigFile"
>;

/**
 * Opens the docker backend with all that it is made of, on the engine that the standard variables name, or on a given one.
 * Throws `unsupported` with what to do when none answers.
 */
export const createDockerBackend = async (
  config: DockerConfig,
  { bus, signer, secrets: store, log }: BackendParts,
  client?: Docker,
): Promise<Backend> => {
  const { docker, title } = await connectEngine(client);
  log.info("functions run in containers", { engine: title });
  const platform = platformId(signer.account);
  const { dataFolder, watchdogFile } = config;
  const sendOrder = orderBy(bus);
  const keyOf = await openReplicaSecretKey(trustPaths(dataFolder).sealingKey, platform);
  const secrets = createReplicaSecrets({ secrets: store, keyOf, sendOrder, log });
  const stopCatchingUp = catchUpWhenReady(bus, secrets);
  const bundles = await openBundleCache(join(dataFolder, "bundles"), await openStore(bus, stores.bundles));
  const backend = openDockerBackend({
    docker,
    platform,
    natsUrl: config.replicaNatsUrl,
    pidsLimit: config.pidsLimit,
    credentials: createCredentials(signer, config.replicaCredentialsTtlMs),
    images: openImages({
      docker,
      policy: config.imagePullPolicy,
      registryConfigFile: config.registryConfigFile,
      secrets: store,
    }),
    volumes: openVolumes({
      docker,
      platform,
      watchdogFolder: () => makeWatchdogFolder(join(dataFolder, "watchdog"), watchdogFile),
      bundles,
    }),
    baseImages: { configured: config.baseImage, own: openBaseImage(docker) },
    secrets,
    sendOrder,
    logLine: (replica, text) => logNote(bus, replica, text),
    log,
  });
  const close = async (): Promise<void> => {
    stopCatchingUp();
    await backend.close();
  };
  return { ...backend, close };
};
