import { BuskerError } from "../../../schemas/errors.ts";
import type { UpConfig } from "../config.ts";
import type { EngineProgram } from "./engine.ts";
import { host as loopback } from "./free-port.ts";

/** What functions run on. */
export interface ChosenBackend {
  readonly backend: "process" | "docker" | "swarm";
  /** What nats-server listens on: this machine only, and the bridge of the containers where there are any. */
  readonly natsHost: string;
  /** For whoever reads it. */
  readonly description: string;
}

const asProcesses = ({ natsHost }: UpConfig, why: string): ChosenBackend => ({
  backend: "process",
  natsHost: natsHost || loopback,
  description: `plain processes${why}`,
});

const refuse = (backend: string, why: string): BuskerError =>
  new BuskerError("unsupported", `cannot start: the backend ${backend} (--backend, BUSKER_BACKEND) ${why}`);

// Nodes elsewhere must reach nats-server, and it never listens where others reach it unless it is told to.
const onSwarm = ({ natsHost }: UpConfig): ChosenBackend => {
  if (natsHost === "" || natsHost === loopback)
    throw refuse(
      "swarm",
      "needs BUSKER_NATS_HOST, the address of this machine on which the swarm's nodes reach nats-server",
    );
  return { backend: "swarm", natsHost, description: "services of the Docker Swarm" };
};

/**
 * Chooses what functions run on: an engine when one answers, unless the configuration says otherwise. Throws
 * `unsupported` when what it says is not to be had.
 */
export const chooseBackend = async (
  config: UpConfig,
  engine: Pick<EngineProgram, "prepare">,
): Promise<ChosenBackend> => {
  if (config.backend === "process") return asProcesses(config, "");
  if (config.backend === "swarm") return onSwarm(config);
  const answer = await engine.prepare();
  if (answer.kind === "ready")
    return {
      backend: "docker",
      natsHost: config.natsHost || answer.engine.address,
      description: `containers of ${answer.engine.name}`,
    };
  if (config.backend === "auto") return asProcesses(config, `, because no Docker engine can be used: ${answer.why}`);
  throw refuse("docker", `needs an engine on this machine: ${answer.why}`);
};
