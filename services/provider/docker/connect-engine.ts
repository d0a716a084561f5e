import Docker from "dockerode";
import { BuskerError } from "../../../schemas/errors.ts";
import { engineReason } from "../container/engine-error.ts";

// 20.10 has it: named volumes in mounts, the pids limit and the events that we filter by label.
const leastApi = { major: 1, minor: 41 } as const;

/** An engine that answers, and how a person knows it. */
export interface Engine {
  readonly docker: Docker;
  /** Such as `Docker Engine 20.10.24 at /var/run/docker.sock`. */
  readonly title: string;
}

interface ModemPlace {
  readonly socketPath?: string | (() => Promise<string>);
  readonly host?: string;
  readonly port?: string | number;
}

/** Where the engine is, as a person would say it. */
const placeOf = async ({ modem }: Docker): Promise<string> => {
  const { socketPath, host, port } = modem as ModemPlace;
  if (host !== undefined) return `${host}:${port ?? ""}`;
  return typeof socketPath === "function" ? socketPath() : (socketPath ?? "");
};

const isOldApi = (version: string): boolean => {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major < leastApi.major || (major === leastApi.major && minor < leastApi.minor);
};

/**
 * Connects to the engine that the standard variables (`DOCKER_HOST` …) name. Throws `unsupported` with what to do when none
 * answers, or one that is too old.
 */
export const connectEngine = async (docker: Docker = new Docker()): Promise<Engine> => {
  const place = await placeOf(docker);
  const { Version, ApiVersion } = await docker.version().catch((cause: unknown) => {
    throw new BuskerError(
      "unsupported",
      `no Docker engine answers at ${place}: ${engineReason(cause)}; start one, name another by DOCKER_HOST, or choose BUSKER_BACKEND=process`,
    );
  });
  if (isOldApi(ApiVersion))
    throw new BuskerError(
      "unsupported",
      `the Docker engine at ${place} is too old: ${Version} has API ${ApiVersion}, and ${leastApi.major}.${leastApi.minor} (Docker 20.10) is needed`,
    );
  return { docker, title: `Docker Engine ${Version} at ${place}` };
};
