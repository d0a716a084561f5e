import { type Environment, portField, readConfig, textField } from "../runtime/config.ts";

/** What a scaler is told by its environment. */
export interface ScalerConfig {
  readonly natsUrl: string;
  readonly credentialsFile: string;
  /** Where metrics and health are served. */
  readonly host: string;
  readonly metricsPort: number;
}

/** Reads a scaler's configuration; throws `invalid_request` naming every key that is wrong. */
export const readScalerConfig = (env: Environment): ScalerConfig =>
  readConfig<ScalerConfig>(env, {
    natsUrl: textField("BUSKER_NATS_URL", "nats://127.0.0.1:4222"),
    credentialsFile: textField("BUSKER_CREDENTIALS"),
    host: textField("BUSKER_HOST", "127.0.0.1"),
    metricsPort: portField("BUSKER_METRICS_PORT", 8084),
  });
