import { maxBodyBytes } from "../../schemas/topology.ts";
import {
  choiceField,
  durationField,
  type Environment,
  integerField,
  portField,
  readConfig,
  textField,
} from "../runtime/config.ts";

/** What a gateway is told by its environment. */
export interface GatewayConfig {
  /** Folder with `secrets/basic-auth-user`, `secrets/basic-auth-password` and `trust/sealing.pub`. */
  readonly dataFolder: string;
  readonly natsUrl: string;
  readonly credentialsFile: string;
  readonly host: string;
  readonly port: number;
  readonly metricsPort: number;
  /** Largest body of an invocation that is collected here, in bytes; larger ones than `maxWholeBytes` are streamed. */
  readonly maxBodyBytes: number;
  /** Largest body of a durable invocation, in bytes. */
  readonly maxAsyncBodyBytes: number;
  /** Largest bundle, in bytes. */
  readonly maxBundleBytes: number;
  /** Calls that may wait for one function at this gateway. */
  readonly maxLine: number;
  /** How long a wish's outcome is waited for, in milliseconds. */
  readonly wishTimeoutMs: number;
  /** What runs the functions, for `/system/info`. */
  readonly backend: "auto" | "process" | "docker" | "swarm";
}

const gibibyte = 1024 ** 3;

/** Reads a gateway's configuration; throws `invalid_request` naming every key that is wrong. */
export const readGatewayConfig = (env: Environment): GatewayConfig =>
  readConfig<GatewayConfig>(env, {
    dataFolder: textField("BUSKER_DATA", "./data"),
    natsUrl: textField("BUSKER_NATS_URL", "nats://127.0.0.1:4222"),
    credentialsFile: textField("BUSKER_CREDENTIALS"),
    host: textField("BUSKER_HOST", "127.0.0.1"),
    port: portField("BUSKER_PORT", 8080),
    metricsPort: portField("BUSKER_METRICS_PORT", 8082),
    maxBodyBytes: integerField("BUSKER_MAX_BODY_BYTES", { min: 1, max: maxBodyBytes }, maxBodyBytes),
    maxAsyncBodyBytes: integerField("BUSKER_MAX_ASYNC_BODY_BYTES", { min: 1, max: 1024 * gibibyte }, gibibyte),
    maxBundleBytes: integerField("BUSKER_MAX_BUNDLE_BYTES", { min: 1024, max: 16 * gibibyte }, gibibyte / 4),
    maxLine: integerField("BUSKER_MAX_LINE", { min: 1, max: 1_000_000 }, 10_000),
    wishTimeoutMs: durationField("BUSKER_WISH_TIMEOUT", 60_000),
    backend: choiceField("BUSKER_BACKEND", ["auto", "process", "docker", "swarm"], "auto"),
  });
