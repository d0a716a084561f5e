import { existsSync } from "node:fs";
import { join } from "node:path";
import { BuskerError } from "../../../schemas/errors.ts";
import { ensureCallbackKey } from "../../bus/callback-key.ts";
import { openTrust, type Trust } from "../../bus/trust.ts";
import type { Environment } from "../../runtime/config.ts";
import type { UpConfig } from "../config.ts";
import { distFolder, projectFolder } from "../paths.ts";
import { ensurePassword, prepareDataFolder } from "./data-folder.ts";
import { lockDataFolder } from "./data-lock.ts";
import { chooseBackend } from "./choose-backend.ts";
import { type EngineProgram, openEngineProgram } from "./engine.ts";
import { forwardPort } from "./forward-port.ts";
import { host, takeFreePort } from "./free-port.ts";
import { keepNats } from "./keep-nats.ts";
import { killReplicas, stopReplicas } from "./replica-processes.ts";
import type { StopList, Stoppable } from "./stop-list.ts";
import { supervise, type Supervised } from "./supervise.ts";
import { waitHealthy } from "./wait-healthy.ts";

/** A platform that runs. */
export interface Platform {
  readonly dataFolder: string;
  readonly gatewayUrl: string;
  readonly metricsUrl: string;
  /** As this machine reaches nats-server. */
  readonly natsUrl: string;
  /** What functions run as. */
  readonly functions: string;
  readonly password: string;
  /** Whether this start has made the password. */
  readonly isNew: boolean;
}

/** What starting the platform needs. */
export interface PlatformStart {
  readonly config: UpConfig;
  readonly env: Environment;
  readonly parts: StopList;
  readonly report: (line: string) => void;
  /** Aborted when the platform is to stop before it is up. */
  readonly signal: AbortSignal;
}

// The provider ends its replicas, which may finish what they are at; the queue-worker hands back what does not end soon; the
// gateway only has to close connections.
const graceMs = { provider: 12_000, "queue-worker": 8000, gateway: 5000, scaler: 5000 } as const;
const healthyMs = 30_000;
// The services of a platform that was killed notice it by themselves, and let go of their ports.
const leftOverMs = 5000;

const serviceFile = (name: string): string => {
  const file = join(distFolder, "services", name, "main.js");
  if (existsSync(file)) return file;
  throw new BuskerError("internal", `cannot start: there is no ${file}; build it with node scripts/build.mjs`);
};

const takeData = (config: UpConfig, parts: StopList): { dataFolder: string; patienceMs: number } => {
  const dataFolder = prepareDataFolder(config.dataFolder);
  const { release, wasStale } = lockDataFolder(dataFolder);
  parts.add({ name: "the data folder's lock", stop: async () => release(), kill: release });
  return { dataFolder, patienceMs: wasStale ? leftOverMs : 0 };
};

/** Where the services listen: the gateway, and the metrics of those that have some. */
interface Ports {
  readonly port: number;
  readonly metrics: Readonly<Record<"gateway" | "queue-worker" | "scaler", number>>;
}

const takePorts = async (config: UpConfig, patienceMs: number): Promise<Ports> => {
  const take = (what: string, key: string, port: number): Promise<number> =>
    takeFreePort({ what, key, port, patienceMs });
  return {
    port: await take("the gateway", "BUSKER_PORT", config.port),
    metrics: {
      gateway: await take("the gateway's metrics", "BUSKER_METRICS_PORT", config.metricsPort),
      "queue-worker": await take("the queue-worker's metrics", "BUSKER_QUEUE_METRICS_PORT", config.queueMetricsPort),
      scaler: await take("the scaler's metrics", "BUSKER_SCALER_METRICS_PORT", config.scalerMetricsPort),
    },
  };
};

const startServices = (
  { env, parts, report }: PlatformStart,
  ports: Ports,
  where: { dataFolder: string; natsUrl: string; trust: Trust; backend: string },
): readonly Supervised[] => {
  const { BUSKER_PASSWORD: _secret, ...inherited } = env;
  // Stopped in reverse: what the gateway accepts no more the queue-worker finishes while there are replicas.
  return (["provider", "queue-worker", "gateway", "scaler"] as const).map((name) => {
    const serviceEnv = {
      ...inherited,
      BUSKER_DATA: where.dataFolder,
      BUSKER_NATS_URL: where.natsUrl,
      BUSKER_CREDENTIALS: where.trust.credentialsFile(name),
      BUSKER_PORT: String(ports.port),
      ...(name === "provider" ? {} : { BUSKER_METRICS_PORT: String(ports.metrics[name]) }),
      BUSKER_BACKEND: where.backend,
    };
    const service = supervise({ name, file: serviceFile(name), env: serviceEnv }, report);
    parts.add({ name, stop: () => service.stop(graceMs[name]), kill: service.kill });
    return service;
  });
};

/** nats-server, with the port of this machine's loopback where it listens elsewhere for the sake of containers. */
const startNats = async (
  { config, env, parts, report }: PlatformStart,
  dataFolder: string,
  natsHost: string,
  patienceMs: number,
): Promise<{ readonly url: string; readonly localUrl: string }> => {
  const conf = join(projectFolder, "nats.conf");
  const common = { dataFolder, conf, host: natsHost, environment: env };
  const isOnLoopback = natsHost === host || natsHost === "0.0.0.0";
  const wanted = { what: "nats-server", key: "BUSKER_NATS_PORT", port: config.natsPort, patienceMs };
  const port = isOnLoopback ? config.natsPort : await takeFreePort(wanted);
  const nats = await keepNats({ ...common, port }, report);
  parts.add(nats);
  if (isOnLoopback) return { url: nats.url, localUrl: nats.url };
  const to = { host: natsHost, port: nats.port };
  parts.add(await forwardPort({ name: "nats-server's local port", host, port: nats.port, to }));
  return { url: nats.url, localUrl: `nats://${host}:${nats.port}` };
};

/** What is left of replicas when the provider has gone: it was killed, or had no time. */
const replicasOf = (backend: string, dataFolder: string, engine: EngineProgram): Stoppable => {
  const name = "replicas";
  if (backend === "docker") return { name, stop: engine.stop, kill: engine.kill };
  return { name, stop: () => stopReplicas(dataFolder), kill: () => killReplicas(dataFolder) };
};

/**
 * Starts everything in order: data folder, ports, keys, engine, nats-server, provider, queue-worker, gateway, scaler; resolves when the gateway
 * answers. Each part is put on the stop list as soon as it is there, so that a failure half-way leaves nothing behind.
 */
export const startPlatform = async (start: PlatformStart): Promise<Platform> => {
  const { config, env, parts, signal } = start;
  const { dataFolder, patienceMs } = takeData(config, parts);
  const ports = await takePorts(config, patienceMs);
  const trust = await openTrust(dataFolder);
  const engine = openEngineProgram(dataFolder, env);
  const { backend, natsHost, description } = await chooseBackend(config, engine);
  const replicas = replicasOf(backend, dataFolder, engine);
  const nats = await startNats(start, dataFolder, natsHost, patienceMs).catch(async (error: unknown) => {
    await replicas.stop();
    throw error;
  });
  // After nats-server, to be stopped before it: what replicas still have to say goes there.
  parts.add(replicas);
  signal.throwIfAborted();
  const { password, isNew } = ensurePassword(dataFolder);
  await ensureCallbackKey(dataFolder);
  const services = startServices(start, ports, { dataFolder, natsUrl: nats.url, trust, backend });
  const gatewayUrl = `http://${host}:${ports.port}`;
  await waitHealthy({ gatewayUrl, services, deadlineMs: healthyMs, signal });
  return {
    dataFolder,
    gatewayUrl,
    metricsUrl: `http://${host}:${ports.metrics.gateway}/metrics`,
    natsUrl: nats.localUrl,
    functions: description,
    password,
    isNew,
  };
};
