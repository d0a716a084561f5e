import { BuskerError } from "../schemas/errors.ts";
import { defaultTimeoutMs, maxTimeoutMs } from "../schemas/function.ts";
import {
  defaultMode,
  type ModeName,
  needsCommand,
  settingFault,
  type SettingKey,
  settingRules,
  type SettingValue,
} from "../schemas/function-environment.ts";
import { maxBodyBytes } from "../schemas/topology.ts";
import { isOpenFaasWatchdog } from "./image-command.ts";

/** What both OpenFaaS watchdogs read from their environment, and what Busker adds. */
export interface WatchdogConfig {
  readonly mode: ModeName;
  /** The command and its arguments; empty in the modes that need none. */
  readonly command: readonly string[];
  /** Where an http function listens; absent: the watchdog picks a port and tells the function. */
  readonly upstreamUrl?: string;
  /** The module of mode handler; absent: the first default that exists. */
  readonly handlerPath?: string;
  readonly staticPath: string;
  /** The one deadline of a call in milliseconds. */
  readonly execTimeoutMs: number;
  readonly readTimeoutMs: number;
  readonly writeTimeoutMs: number;
  readonly healthcheckIntervalMs: number;
  /** How long an http function may take until it answers for the first time, in milliseconds. */
  readonly startTimeoutMs: number;
  /** Slots; 0: no limit. */
  readonly maxInflight: number;
  /** Processes started ahead in mode pool. */
  readonly poolSize: number;
  /** The content type of every answer of the fork modes; absent: each mode's own default. */
  readonly contentType?: string;
  readonly prefixLogs: boolean;
  /** Longest log line in bytes; a longer one is cut into several. */
  readonly logBufferBytes: number;
  readonly logCallId: boolean;
  /** A path of the function that answers 2xx when it is ready; empty: any answer counts. */
  readonly readyPath: string;
  /** Set when the function is an OpenFaaS watchdog that the image has: its health decides whether it is ready. */
  readonly inner?: InnerWatchdog;
  readonly cgiHeaders: boolean;
  readonly marshalRequest: boolean;
  /** Whether stderr goes into the answer together with stdout instead of the log. */
  readonly combineOutput: boolean;
  /** Whether a handler gets its body as a Buffer instead of a string. */
  readonly rawBody: boolean;
  /** Largest body of an answer in bytes. */
  readonly maxResponseBytes: number;
}

/** A watchdog of OpenFaaS, run as an http function. The settings of the image are its own. */
export interface InnerWatchdog {
  /** Where the server behind it listens, when it has one. */
  readonly upstreamUrl?: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** `log_buffer_size: -1` means no limit to OpenFaaS; a line still must fit into a log event. */
const unlimitedLineBytes = 1024 * 1024;

/** Collects faults while keys are read, so that a person sees all of them at once. */
const createReader = (env: Environment) => {
  const faults: string[] = [];
  const text = (...keys: string[]): string | undefined => keys.map((key) => env[key]).find(Boolean);
  /** The value of a variable; `fallback` when it is absent, or faulty, which is noted. */
  const read = <K extends SettingKey, F>(key: K, fallback: F): SettingValue<K> | F => {
    const value = text(key);
    if (value === undefined) return fallback;
    const fault = settingFault(key, value);
    if (fault !== undefined) faults.push(fault);
    return (settingRules[key].parse(value) as SettingValue<K> | undefined) ?? fallback;
  };
  return { faults, text, read };
};

type Reader = ReturnType<typeof createReader>;

/** OpenFaaS splits on spaces, without a shell and without quotes; the later name wins, and both win over the image. */
const readCommand = (reader: Reader, mode: ModeName, image: readonly string[] | undefined): readonly string[] => {
  const given = (reader.text("function_process", "fprocess") ?? "").split(/\s+/).filter(Boolean);
  const command = given.length > 0 ? given : (image ?? []);
  if (command.length === 0 && needsCommand(mode)) reader.faults.push(noCommand(mode, image));
  return command;
};

const noCommand = (mode: ModeName, image: readonly string[] | undefined): string =>
  image === undefined
    ? `fprocess must be a command in mode ${mode}; got ""`
    : `fprocess must be a command in mode ${mode}, because the image has neither ENTRYPOINT nor CMD; got ""`;

/** What both OpenFaaS watchdogs listen on unless `port` says otherwise. */
const innerPort = 8080;

/** The settings that hold for an OpenFaaS watchdog as a function, whatever the image tells that watchdog. */
const readInner = (reader: Reader, command: readonly string[]): Partial<WatchdogConfig> => {
  const upstreamUrl =
    reader.text("mode") === "http"
      ? (reader.read("http_upstream_url", undefined) ?? reader.read("upstream_url", undefined))
      : undefined;
  const port = reader.text("port") ?? String(innerPort);
  if (!/^\d{1,5}$/.test(port)) reader.faults.push(`port must be a port number; got ${JSON.stringify(port)}`);
  return {
    mode: "http",
    command,
    upstreamUrl: `http://127.0.0.1:${port}`,
    // Only one that has this setting knows the path: the classic watchdog would take it for a call.
    readyPath: reader.text("ready_path") === undefined ? "" : "/_/ready",
    inner: given("upstreamUrl", upstreamUrl),
  };
};

/** 0 means no limit to OpenFaaS; a call of Busker always has a deadline. */
const readExecTimeout = (reader: Reader): number =>
  Math.min(reader.read("exec_timeout", defaultTimeoutMs) || maxTimeoutMs, maxTimeoutMs);

const readLogBuffer = (reader: Reader): number => {
  const bytes = reader.read("log_buffer_size", 65536);
  return bytes <= 0 ? unlimitedLineBytes : bytes;
};

/** Up to four processes are started ahead, and never more than can be in use. */
const defaultPoolSize = (maxInflight: number): number => (maxInflight === 0 ? 4 : Math.min(4, maxInflight));

const given = <K extends string>(key: K, value: string | undefined): Partial<Record<K, string>> =>
  value === undefined ? {} : ({ [key]: value } as Record<K, string>);

/**
 * The settings of one replica's watchdog, by its environment and what its image runs by itself. Throws one
 * `invalid_request` that names every faulty key.
 */
export const readWatchdogConfig = (env: Environment, image?: readonly string[]): WatchdogConfig => {
  const reader = createReader(env);
  const inner = image && isOpenFaasWatchdog(image) ? readInner(reader, image) : undefined;
  const mode = inner?.mode ?? reader.read("mode", defaultMode);
  const writeTimeoutMs = reader.read("write_timeout", 30_000);
  const maxInflight = reader.read("max_inflight", 0);
  const config: WatchdogConfig = {
    mode,
    command: inner?.command ?? readCommand(reader, mode, image),
    ...given("upstreamUrl", reader.read("http_upstream_url", undefined) ?? reader.read("upstream_url", undefined)),
    ...given("handlerPath", reader.text("handler")),
    staticPath: reader.text("static_path") ?? "/home/app/public",
    execTimeoutMs: readExecTimeout(reader),
    readTimeoutMs: reader.read("read_timeout", 30_000),
    writeTimeoutMs,
    healthcheckIntervalMs: reader.read("healthcheck_interval", writeTimeoutMs),
    startTimeoutMs: reader.read("start_timeout", 60_000),
    maxInflight,
    poolSize: reader.read("pool_size", defaultPoolSize(maxInflight)),
    ...given("contentType", reader.text("content_type")),
    prefixLogs: reader.read("prefix_logs", true),
    logBufferBytes: readLogBuffer(reader),
    logCallId: reader.read("log_callid", false),
    readyPath: reader.read("ready_path", ""),
    cgiHeaders: reader.read("cgi_headers", true),
    marshalRequest: reader.read("marshal_request", false),
    combineOutput: reader.read("combine_output", false),
    rawBody: reader.read("RAW_BODY", false),
    maxResponseBytes: maxBodyBytes,
    ...inner,
  };
  if (reader.faults.length > 0)
    throw new BuskerError("invalid_request", `cannot read the watchdog's settings: ${reader.faults.join("; ")}`);
  return Object.freeze(config);
};
