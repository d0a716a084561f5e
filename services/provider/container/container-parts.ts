import type Docker from "dockerode";
import type { SamplingPolicy } from "../../../schemas/span.ts";
import { replicaOrderSubject } from "../../../schemas/subjects.ts";
import { openReplicaSecretKey } from "../../bus/sealing-keys.ts";
import { trustPaths } from "../../bus/trust-files.ts";
import type { Log } from "../../runtime/log.ts";
import type { ProviderConfig } from "../config.ts";
import type { BackendParts } from "../create-backend.ts";
import { connectEngine } from "../docker/connect-engine.ts";
import { createCredentials, type Credentials } from "../replica-credentials.ts";
import { catchUpWhenReady } from "./hear-ready.ts";
import { type Images, openImages } from "./images.ts";
import type { SendOrder } from "./keep-credentials.ts";
import { platformId } from "./platform-id.ts";
import { createReplicaSecrets, type ReplicaSecrets } from "./replica-secrets.ts";

/** What of a provider's configuration every backend with an engine needs. */
export type ContainerConfig = Pick<
  ProviderConfig,
  | "dataFolder"
  | "watchdogFile"
  | "replicaNatsUrl"
  | "traces"
  | "replicaCredentialsTtlMs"
  | "pidsLimit"
  | "baseImage"
  | "imagePullPolicy"
  | "registryConfigFile"
>;

/** What every backend with an engine is made of. */
export interface ContainerParts {
  readonly docker: Docker;
  /** Id of the platform. */
  readonly platform: string;
  /** As containers reach it. */
  readonly natsUrl: string;
  /** Which calls of replicas are traced; undefined while tracing is off. */
  readonly traces?: SamplingPolicy | undefined;
  readonly pidsLimit: number;
  readonly credentials: Credentials;
  readonly images: Images;
  readonly secrets: ReplicaSecrets;
  readonly sendOrder: SendOrder;
  readonly log: Log;
}

/**
 * Opens them on the engine that the standard variables name, or on a given one; `as` is what functions are there. Throws
 * `unsupported` with what to do when none answers. `stop` ends what they do by themselves.
 */
export const openContainerParts = async (
  config: ContainerConfig,
  { bus, signer, secrets: store, log }: BackendParts,
  { as, client }: { readonly as: string; readonly client: Docker | undefined },
): Promise<{ readonly parts: ContainerParts; readonly stop: () => void }> => {
  const { docker, title } = await connectEngine(client);
  log.info(`functions run ${as}`, { engine: title });
  const platform = platformId(signer.account);
  const sendOrder: SendOrder = (replica, order) => bus.nc.publish(replicaOrderSubject(replica), JSON.stringify(order));
  const keyOf = await openReplicaSecretKey(trustPaths(config.dataFolder).sealingKey, platform);
  const secrets = createReplicaSecrets({ secrets: store, keyOf, sendOrder, log });
  const { imagePullPolicy: policy, registryConfigFile } = config;
  const parts = {
    docker,
    platform,
    natsUrl: config.replicaNatsUrl,
    traces: config.traces,
    pidsLimit: config.pidsLimit,
    credentials: createCredentials(signer, config.replicaCredentialsTtlMs),
    images: openImages({ docker, policy, registryConfigFile, secrets: store }),
    secrets,
    sendOrder,
    log,
  };
  return { parts, stop: catchUpWhenReady(bus, secrets) };
};
