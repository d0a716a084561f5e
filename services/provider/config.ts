import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { BuskerError } from "../../schemas/errors.ts";
import type { SamplingPolicy } from "../../schemas/span.ts";
import { trustPaths } from "../bus/trust-files.ts";
import {
  choiceField,
  durationField,
  type Environment,
  integerField,
  readConfig,
  textField,
} from "../runtime/config.ts";
import { readTracingConfig } from "../runtime/tracing-config.ts";
import { usualReservePercent } from "./evict-frozen.ts";
import { type PullPolicy, pullPolicies } from "./container/pull-policy.ts";

/** What a provider is told by its environment. */
export interface ProviderConfig {
  /** Absolute: replicas start in other folders. Bundles and replicas are kept in it. */
  readonly dataFolder: string;
  readonly natsUrl: string;
  readonly credentialsFile: string;
  /** On how many nats-servers each stream, bucket and store is kept. */
  readonly streamReplicas: number;
  /** What replicas run as. */
  readonly backend: "process" | "docker" | "swarm";
  /** The NATS server as containers reach it. */
  readonly replicaNatsUrl: string;
  /** Most processes of one container. */
  readonly pidsLimit: number;
  /** Frozen replicas are stopped while less of the machine's memory is available, in hundredths of all. */
  readonly memoryReservePercent: number;
  /** The image that bundles run in; undefined for one made from this machine's files. */
  readonly baseImage: string | undefined;
  /** Swarm: the image that fills the watchdog's volume on each machine. */
  readonly watchdogImage: string;
  /** Swarm: the overlay network that all namespaces are to use; undefined for one each. */
  readonly swarmNetwork: string | undefined;
  /** Which calls of replicas are traced; undefined while OpenTelemetry's variables name no endpoint. */
  readonly traces?: SamplingPolicy | undefined;
  /** How long a replica's NATS credentials are valid, in milliseconds; renewed at half of it. */
  readonly replicaCredentialsTtlMs: number;
  /** The file that replicas' credentials are signed with. */
  readonly signerFile: string;
  /** When images are pulled, of functions that say none. */
  readonly imagePullPolicy: PullPolicy;
  /** A Docker `config.json` with the credentials of registries; it need not be there. */
  readonly registryConfigFile: string;
  /** The bundled watchdog. */
  readonly watchdogFile: string;
  /** PATH of watchdogs and functions. */
  readonly path: string;
}

const builtWatchdog = fileURLToPath(new URL("../../watchdog/watchdog.mjs", import.meta.url));

// What Debian gives a login shell; a service manager may start us without any.
const usualPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Where `docker login` writes. */
const usualRegistryConfig = (env: Environment): string =>
  join(env["DOCKER_CONFIG"] || join(env["HOME"] || homedir(), ".docker"), "config.json");

// The init, Node's own threads and a function's process; and the most that a 64-bit kernel counts.
const leastPids = 32;
const mostPids = 2 ** 22;

// `busker up` decides what `auto` means before it starts a provider; one that is started by hand needs no engine.
const chooseBackend = (
  backend: "auto" | "process" | "docker" | "swarm",
  watchdogImage: string,
): ProviderConfig["backend"] => {
  if (backend === "swarm" && watchdogImage === "")
    throw new BuskerError(
      "invalid_request",
      "BUSKER_WATCHDOG_IMAGE must name the image of infra/watchdog where BUSKER_BACKEND is swarm; it is empty",
    );
  return backend === "auto" ? "process" : backend;
};

/** Reads a provider's configuration; throws `invalid_request` naming every key that is wrong. */
export const readProviderConfig = (env: Environment): ProviderConfig => {
  const { backend, dataFolder, replicaNatsUrl, baseImage, swarmNetwork, ...config } = readConfig(env, {
    dataFolder: textField("BUSKER_DATA", "./data"),
    natsUrl: textField("BUSKER_NATS_URL", "nats://127.0.0.1:4222"),
    credentialsFile: textField("BUSKER_CREDENTIALS"),
    backend: choiceField("BUSKER_BACKEND", ["auto", "process", "docker", "swarm"], "auto"),
    // JetStream keeps one, three or five copies; more it does not.
    streamReplicas: integerField("BUSKER_STREAM_REPLICAS", { min: 1, max: 5 }, 1),
    replicaNatsUrl: textField("BUSKER_REPLICA_NATS_URL", ""),
    pidsLimit: integerField("BUSKER_PIDS_LIMIT", { min: leastPids, max: mostPids }, 1024),
    memoryReservePercent: integerField("BUSKER_MEMORY_RESERVE", { min: 0, max: 100 }, usualReservePercent),
    baseImage: textField("BUSKER_BASE_IMAGE", ""),
    watchdogImage: textField("BUSKER_WATCHDOG_IMAGE", ""),
    swarmNetwork: textField("BUSKER_SWARM_NETWORK", ""),
    replicaCredentialsTtlMs: durationField("BUSKER_REPLICA_CREDENTIALS_TTL", 12 * 3600_000),
    signerFile: textField("BUSKER_SIGNER", ""),
    imagePullPolicy: choiceField("BUSKER_IMAGE_PULL_POLICY", pullPolicies, "IfNotPresent"),
    registryConfigFile: textField("BUSKER_REGISTRY_CONFIG", usualRegistryConfig(env)),
    watchdogFile: textField("BUSKER_WATCHDOG", builtWatchdog),
    path: textField("PATH", usualPath),
  });
  const folder = resolve(dataFolder);
  return Object.freeze({
    ...config,
    dataFolder: folder,
    backend: chooseBackend(backend, config.watchdogImage),
    swarmNetwork: swarmNetwork || undefined,
    traces: readTracingConfig(env)?.sampling,
    replicaNatsUrl: replicaNatsUrl || config.natsUrl,
    baseImage: baseImage || undefined,
    signerFile: config.signerFile === "" ? trustPaths(folder).signer : config.signerFile,
  });
};
