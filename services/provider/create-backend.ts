import { stores } from "../../schemas/topology.ts";
import type { Bus } from "../bus/connection.ts";
import type { Signer } from "../bus/mint.ts";
import { openStore } from "../bus/objects.ts";
import type { Log } from "../runtime/log.ts";
import type { Backend, ServiceBackend } from "./backend.ts";
import type { ProviderConfig } from "./config.ts";
import { platformId } from "./container/platform-id.ts";
import { openProcessBackend } from "./process-backend.ts";
import { createCredentials } from "./replica-credentials.ts";
import type { SecretStore } from "./secret-store.ts";

/** What every backend may need besides its configuration. */
export interface BackendParts {
  readonly bus: Bus;
  readonly signer: Signer;
  readonly secrets: SecretStore;
  readonly log: Log;
}

const createProcessBackend = async (config: ProviderConfig, parts: BackendParts): Promise<Backend> =>
  openProcessBackend({
    ...config,
    credentials: createCredentials(parts.signer, config.replicaCredentialsTtlMs),
    bundles: await openStore(parts.bus, stores.bundles),
    secrets: parts.secrets,
    log: parts.log,
  });

const createDockerBackend = async (config: ProviderConfig, parts: BackendParts): Promise<Backend> => {
  // Only now: the client of engines is large, and a provider of processes has no use for it.
  const { createDockerBackend: create } = await import("./docker/create-docker-backend.ts");
  return create(config, parts);
};

const createSwarmBackend = async (config: ProviderConfig, parts: BackendParts): Promise<ServiceBackend> => {
  const { createSwarmBackend: create } = await import("./swarm/create-swarm-backend.ts");
  return create(config, parts);
};

/**
 * Keeps that there over which this machine and its containers reach nats-server. To be called before the bus is opened,
 * which may be out of reach for want of it. Gives what ends it.
 */
export const keepBusReachable = async (
  { backend, dataFolder }: ProviderConfig,
  { account }: Signer,
  log: Log,
): Promise<() => Promise<void>> => {
  if (backend !== "docker") return async () => {};
  const { keepBusNetwork } = await import("./docker/keep-bus-network.ts");
  return keepBusNetwork({ platform: platformId(account), dataFolder, log });
};

/** Opens the backend that the configuration names. Throws `unsupported` with what to do when it is not to be had here. */
export const createBackend = (config: ProviderConfig, parts: BackendParts): Promise<Backend | ServiceBackend> => {
  switch (config.backend) {
    case "process":
      return createProcessBackend(config, parts);
    case "docker":
      return createDockerBackend(config, parts);
    case "swarm":
      return createSwarmBackend(config, parts);
  }
};
