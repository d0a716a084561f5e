import { choiceField, type Environment, portField, readConfig, textField } from "../runtime/config.ts";

/** What `busker up` is told by its environment. */
export interface UpConfig {
  /** Everything the platform keeps. */
  readonly dataFolder: string;
  /** The gateway's port on 127.0.0.1; 0: any free one. */
  readonly port: number;
  /** The port of the gateway's metrics on 127.0.0.1; 0: any free one. */
  readonly metricsPort: number;
  /** nats-server's port on 127.0.0.1; 0: any free one. */
  readonly natsPort: number;
  readonly backend: "auto" | "process" | "docker" | "swarm";
}

/** Reads the environment of `busker up`; throws one `invalid_request` that names every fault. */
export const readUpConfig = (env: Environment): UpConfig =>
  readConfig<UpConfig>(env, {
    dataFolder: textField("BUSKER_DATA", "./data"),
    port: portField("BUSKER_PORT", 8080),
    metricsPort: portField("BUSKER_METRICS_PORT", 8082),
    natsPort: portField("BUSKER_NATS_PORT", 4222),
    backend: choiceField("BUSKER_BACKEND", ["auto", "process", "docker", "swarm"], "auto"),
  });
