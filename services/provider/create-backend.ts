import { join } from "node:path";
import { baseImageAnnotation } from "../../schemas/annotations.ts";
import { BuskerError } from "../../schemas/errors.ts";
import { replicaOrderSubject } from "../../schemas/subjects.ts";
import { stores } from "../../schemas/topology.ts";
import type { Bus } from "../bus/connection.ts";
import type { Signer } from "../bus/mint.ts";
import { openStore } from "../bus/objects.ts";
import type { Log } from "../runtime/log.ts";
import type { Backend } from "./backend.ts";
import { openBundleCache } from "./bundle-cache.ts";
import type { ProviderConfig } from "./config.ts";
import type { SendOrder } from "./container/keep-credentials.ts";
import { platformId } from "./container/platform-id.ts";
import { openProcessBackend } from "./process-backend.ts";
import { createCredentials } from "./replica-credentials.ts";
import { logNote } from "./replica-ends.ts";
import type { SecretStore } from "./secret-store.ts";

/** What every backend may need besides its configuration. */
export interface BackendParts {
  readonly bus: Bus;
  readonly signer: Signer;
  readonly secrets: SecretStore;
  readonly log: Log;
}

const orderBy =
  (bus: Bus): SendOrder =>
  (replica, order) =>
    bus.nc.publish(replicaOrderSubject(replica), JSON.stringify(order));

const createProcessBackend = async (config: ProviderConfig, parts: BackendParts): Promise<Backend> =>
  openProcessBackend({
    ...config,
    credentials: createCredentials(parts.signer, config.replicaCredentialsTtlMs),
    bundles: await openStore(parts.bus, stores.bundles),
    secrets: parts.secrets,
    log: parts.log,
  });

const createDockerBackend = async (config: ProviderConfig, parts: BackendParts): Promise<Backend> => {
  const { bus, signer, log } = parts;
  // Only now: the client of engines is large, and a provider of processes has no use for it.
  const [{ connectEngine }, { openDockerBackend }, { openImages }, { openVolumes }] = await Promise.all([
    import("./docker/connect-engine.ts"),
    import("./docker/docker-backend.ts"),
    import("./container/images.ts"),
    import("./container/volumes.ts"),
  ]);
  const { docker, title } = await connectEngine();
  log.info("functions run in containers", { engine: title });
  const bundles = await openBundleCache(join(config.dataFolder, "bundles"), await openStore(bus, stores.bundles));
  return openDockerBackend({
    docker,
    platform: platformId(signer.account),
    natsUrl: config.replicaNatsUrl,
    pidsLimit: config.pidsLimit,
    credentials: createCredentials(signer, config.replicaCredentialsTtlMs),
    images: openImages({ docker }),
    volumes: openVolumes({ dataFolder: config.dataFolder, watchdogFile: config.watchdogFile, bundles }),
    baseImage: async ({ annotations }) => {
      const image = annotations?.[baseImageAnnotation] ?? config.baseImage;
      if (image === undefined)
        throw new BuskerError("unsupported", "bundles in containers need an image to run in: set BUSKER_BASE_IMAGE");
      return image;
    },
    sendOrder: orderBy(bus),
    logLine: (replica, text) => logNote(bus, replica, text),
    log,
  });
};

/** Opens the backend that the configuration names. Throws `unsupported` with what to do when it is not to be had here. */
export const createBackend = (config: ProviderConfig, parts: BackendParts): Promise<Backend> => {
  switch (config.backend) {
    case "process":
      return createProcessBackend(config, parts);
    case "docker":
      return createDockerBackend(config, parts);
  }
};
