import { existsSync } from "node:fs";
import { join } from "node:path";
import { BuskerError } from "../../../schemas/errors.ts";
import { openTrust, type Trust } from "../../bus/trust.ts";
import type { Environment } from "../../runtime/config.ts";
import type { UpConfig } from "../config.ts";
import { distFolder, projectFolder } from "../paths.ts";
import { ensurePassword, prepareDataFolder } from "./data-folder.ts";
import { lockDataFolder } from "./data-lock.ts";
import { host, takeFreePort } from "./free-port.ts";
import { keepNats } from "./keep-nats.ts";
import { killReplicas, stopReplicas } from "./replica-processes.ts";
import type { StopList } from "./stop-list.ts";
import { supervise, type Supervised } from "./supervise.ts";
import { waitHealthy } from "./wait-healthy.ts";

/** A platform that runs. */
export interface Platform {
  readonly dataFolder: string;
  readonly gatewayUrl: string;
  readonly metricsUrl: string;
  readonly natsUrl: string;
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

// The provider ends its replicas, which may finish what they are at; the gateway only has to close connections.
const graceMs = { provider: 12_000, gateway: 5000 } as const;
const healthyMs = 30_000;
// The services of a platform that was killed notice it by themselves, and let go of their ports.
const leftOverMs = 5000;

const serviceFile = (name: string): string => {
  const file = join(distFolder, "services", name, "main.js");
  if (existsSync(file)) return file;
  throw new BuskerError("internal", `cannot start: there is no ${file}; build it with node scripts/build.mjs`);
};

const checkBackend = ({ backend }: UpConfig): void => {
  if (backend === "docker" || backend === "swarm")
    throw new BuskerError(
      "unsupported",
      `cannot start: the backend ${backend} (BUSKER_BACKEND) is not in this version; use process or auto`,
    );
};

const takeData = (config: UpConfig, parts: StopList): { dataFolder: string; patienceMs: number } => {
  const dataFolder = prepareDataFolder(config.dataFolder);
  const { release, wasStale } = lockDataFolder(dataFolder);
  parts.add({ name: "the data folder's lock", stop: async () => release(), kill: release });
  return { dataFolder, patienceMs: wasStale ? leftOverMs : 0 };
};

const startServices = (
  { config, env, parts, report }: PlatformStart,
  ports: { port: number; metricsPort: number },
  where: { dataFolder: string; natsUrl: string; trust: Trust },
): readonly Supervised[] => {
  const { BUSKER_PASSWORD: _secret, ...inherited } = env;
  return (["provider", "gateway"] as const).map((name) => {
    const serviceEnv = {
      ...inherited,
      BUSKER_DATA: where.dataFolder,
      BUSKER_NATS_URL: where.natsUrl,
      BUSKER_CREDENTIALS: where.trust.credentialsFile(name),
      BUSKER_PORT: String(ports.port),
      BUSKER_METRICS_PORT: String(ports.metricsPort),
      BUSKER_BACKEND: config.backend === "auto" ? "process" : config.backend,
    };
    const service = supervise({ name, file: serviceFile(name), env: serviceEnv }, report);
    parts.add({ name, stop: () => service.stop(graceMs[name]), kill: service.kill });
    return service;
  });
};

/**
 * Starts everything in order: data folder, ports, keys, nats-server, provider, gateway; resolves when the gateway
 * answers. Each part is put on the stop list as soon as it is there, so that a failure half-way leaves nothing behind.
 */
export const startPlatform = async (start: PlatformStart): Promise<Platform> => {
  const { config, env, parts, report, signal } = start;
  checkBackend(config);
  const { dataFolder, patienceMs } = takeData(config, parts);
  const port = await takeFreePort({ what: "the gateway", key: "BUSKER_PORT", port: config.port, patienceMs });
  const metricsKey = { what: "the gateway's metrics", key: "BUSKER_METRICS_PORT" };
  const metricsPort = await takeFreePort({ ...metricsKey, port: config.metricsPort, patienceMs });
  const trust = await openTrust(dataFolder);
  const conf = join(projectFolder, "nats.conf");
  const nats = await keepNats({ dataFolder, conf, port: config.natsPort, host, environment: env }, report);
  parts.add(nats);
  signal.throwIfAborted();
  const { password, isNew } = ensurePassword(dataFolder);
  parts.add({ name: "replicas", stop: () => stopReplicas(dataFolder), kill: () => killReplicas(dataFolder) });
  const services = startServices(start, { port, metricsPort }, { dataFolder, natsUrl: nats.url, trust });
  const gatewayUrl = `http://${host}:${port}`;
  await waitHealthy({ gatewayUrl, services, deadlineMs: healthyMs, signal });
  return {
    dataFolder,
    gatewayUrl,
    metricsUrl: `http://${host}:${metricsPort}/metrics`,
    natsUrl: nats.url,
    password,
    isNew,
  };
};
