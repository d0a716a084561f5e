import { choiceField, type Environment, portField, readConfig, textField } from "../runtime/config.ts";

/** What may run functions; `auto`: a Docker engine when one answers, plain processes when not. */
export const backends = ["auto", "process", "docker", "swarm"] as const;

/** What `busker up` is told by its environment. */
export interface UpConfig {
  /** Everything the platform keeps. */
  readonly dataFolder: string;
  /** The gateway's port on 127.0.0.1; 0: any free one. */
  readonly port: number;
  /** The port of the gateway's metrics on 127.0.0.1; 0: any free one. */
  readonly metricsPort: number;
  /** The port of the queue-worker's metrics on 127.0.0.1; 0: any free one. */
  readonly queueMetricsPort: number;
  /** The port of the scaler's metrics on 127.0.0.1; 0: any free one. */
  readonly scalerMetricsPort: number;
  /** nats-server's port on 127.0.0.1; 0: any free one. */
  readonly natsPort: number;
  /** The address that nats-server listens on; empty: as the backend needs it, and never a public one. */
  readonly natsHost: string;
  readonly backend: (typeof backends)[number];
}

/** Reads the environment of `busker up`; throws one `invalid_request` that names every fault. */
export const readUpConfig = (env: Environment): UpConfig =>
  readConfig<UpConfig>(env, {
    dataFolder: textField("BUSKER_DATA", "./data"),
    port: portField("BUSKER_PORT", 8080),
    metricsPort: portField("BUSKER_METRICS_PORT", 8082),
    queueMetricsPort: portField("BUSKER_QUEUE_METRICS_PORT", 8083),
    scalerMetricsPort: portField("BUSKER_SCALER_METRICS_PORT", 8084),
    natsPort: portField("BUSKER_NATS_PORT", 4222),
    natsHost: textField("BUSKER_NATS_HOST", ""),
    backend: choiceField("BUSKER_BACKEND", backends, "auto"),
  });
