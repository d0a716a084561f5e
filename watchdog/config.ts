import { BuskerError } from "../schemas/errors.ts";
import { defaultTimeoutMs, maxTimeoutMs, parseDurationMs } from "../schemas/function.ts";
import { maxBodyBytes } from "../schemas/topology.ts";

/** The ways to run a function, by the names of the variable `mode`. */
export const modeNames = ["streaming", "serializing", "http", "static", "handler", "pool"] as const;
export type ModeName = (typeof modeNames)[number];

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
  readonly cgiHeaders: boolean;
  readonly marshalRequest: boolean;
  /** Whether stderr goes into the answer together with stdout instead of the log. */
  readonly combineOutput: boolean;
  /** Whether a handler gets its body as a Buffer instead of a string. */
  readonly rawBody: boolean;
  /** Largest body of an answer in bytes. */
  readonly maxResponseBytes: number;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** `log_buffer_size: -1` means no limit to OpenFaaS; a line still must fit into a log event. */
const unlimitedLineBytes = 1024 * 1024;

/** Collects faults while keys are read, so that a person sees all of them at once. */
const createReader = (env: Environment) => {
  const faults: string[] = [];
  const fault = (key: string, value: string, rule: string): void => {
    faults.push(`${key} must be ${rule}; got ${JSON.stringify(value)}`);
  };
  const text = (...keys: string[]): string | undefined => keys.map((key) => env[key]).find(Boolean);
  const parsed = <T>(key: string, fallback: T, rule: string, parse: (value: string) => T | undefined): T => {
    const value = text(key);
    if (value === undefined) return fallback;
    const result = parse(value);
    if (result === undefined) fault(key, value, rule);
    return result ?? fallback;
  };
  return { faults, fault, text, parsed };
};

type Reader = ReturnType<typeof createReader>;

const booleans: Readonly<Record<string, boolean>> = { true: true, "1": true, false: false, "0": false };

const readBoolean = (reader: Reader, key: string, fallback: boolean): boolean =>
  reader.parsed(key, fallback, "true, false, 1 or 0", (value) => booleans[value.toLowerCase()]);

const readDuration = (reader: Reader, key: string, fallbackMs: number): number =>
  reader.parsed(key, fallbackMs, "a duration such as 30s, 1m30s or a number of seconds", parseDurationMs);

const readWhole = (reader: Reader, key: string, fallback: number, min: number): number =>
  reader.parsed(key, fallback, `a whole number of at least ${min}`, (value) => {
    const number = Number(value);
    return Number.isSafeInteger(number) && number >= min ? number : undefined;
  });

const readMode = (reader: Reader): ModeName =>
  reader.parsed<ModeName>("mode", "streaming", `one of ${modeNames.join(", ")}`, (value) =>
    modeNames.find((name) => name === value),
  );

/** OpenFaaS splits on spaces, without a shell and without quotes; the later name wins. */
const readCommand = (reader: Reader, mode: ModeName): readonly string[] => {
  const command = (reader.text("function_process", "fprocess") ?? "").split(/\s+/).filter(Boolean);
  if (command.length === 0 && mode !== "static" && mode !== "handler")
    reader.fault("fprocess", "", `a command in mode ${mode}`);
  return command;
};

const readUpstream = (reader: Reader): string | undefined => {
  const value = reader.text("http_upstream_url", "upstream_url");
  if (value === undefined) return undefined;
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (url?.protocol !== "http:") reader.fault("upstream_url", value, "an address such as http://127.0.0.1:3000");
  return value;
};

const readWriteTimeout = (reader: Reader): number => {
  const writeTimeoutMs = readDuration(reader, "write_timeout", 30_000);
  if (writeTimeoutMs === 0) reader.fault("write_timeout", reader.text("write_timeout") ?? "", "more than 0");
  return writeTimeoutMs;
};

/** 0 means no limit to OpenFaaS; a call of Busker always has a deadline. */
const readExecTimeout = (reader: Reader): number =>
  Math.min(readDuration(reader, "exec_timeout", defaultTimeoutMs) || maxTimeoutMs, maxTimeoutMs);

const readLogBuffer = (reader: Reader): number => {
  const bytes = readWhole(reader, "log_buffer_size", 65536, -1);
  return bytes <= 0 ? unlimitedLineBytes : bytes;
};

/** Up to four processes are started ahead, and never more than can be in use. */
const defaultPoolSize = (maxInflight: number): number => (maxInflight === 0 ? 4 : Math.min(4, maxInflight));

const given = <K extends string>(key: K, value: string | undefined): Partial<Record<K, string>> =>
  value === undefined ? {} : ({ [key]: value } as Record<K, string>);

/** The settings of one replica's watchdog. Throws one `invalid_request` that names every faulty key. */
export const readWatchdogConfig = (env: Environment): WatchdogConfig => {
  const reader = createReader(env);
  const mode = readMode(reader);
  const writeTimeoutMs = readWriteTimeout(reader);
  const maxInflight = readWhole(reader, "max_inflight", 0, 0);
  const config: WatchdogConfig = {
    mode,
    command: readCommand(reader, mode),
    ...given("upstreamUrl", readUpstream(reader)),
    ...given("handlerPath", reader.text("handler")),
    staticPath: reader.text("static_path") ?? "/home/app/public",
    execTimeoutMs: readExecTimeout(reader),
    readTimeoutMs: readDuration(reader, "read_timeout", 30_000),
    writeTimeoutMs,
    healthcheckIntervalMs: readDuration(reader, "healthcheck_interval", writeTimeoutMs),
    startTimeoutMs: readDuration(reader, "start_timeout", 60_000),
    maxInflight,
    poolSize: readWhole(reader, "pool_size", defaultPoolSize(maxInflight), 1),
    ...given("contentType", reader.text("content_type")),
    prefixLogs: readBoolean(reader, "prefix_logs", true),
    logBufferBytes: readLogBuffer(reader),
    logCallId: readBoolean(reader, "log_callid", false),
    readyPath: reader.text("ready_path") ?? "",
    cgiHeaders: readBoolean(reader, "cgi_headers", true),
    marshalRequest: readBoolean(reader, "marshal_request", false),
    combineOutput: readBoolean(reader, "combine_output", false),
    rawBody: readBoolean(reader, "RAW_BODY", false),
    maxResponseBytes: maxBodyBytes,
  };
  if (config.readyPath !== "" && !config.readyPath.startsWith("/"))
    reader.fault("ready_path", config.readyPath, "a path that begins with /");
  if (reader.faults.length > 0)
    throw new BuskerError("invalid_request", `cannot read the watchdog's settings: ${reader.faults.join("; ")}`);
  return Object.freeze(config);
};
