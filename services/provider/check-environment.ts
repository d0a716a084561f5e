import { parseDurationMs } from "../../schemas/function.ts";

type Rule = readonly [key: string, rule: string, holds: (value: string) => boolean];

const modes: readonly string[] = ["streaming", "serializing", "http", "static", "handler", "pool"];
const modesWithoutCommand: readonly string[] = ["static", "handler"];

const isDuration = (value: string): boolean => parseDurationMs(value) !== undefined;
const isBoolean = (value: string): boolean => /^(true|false|1|0)$/i.test(value);
const isWhole =
  (min: number) =>
  (value: string): boolean =>
    Number.isSafeInteger(Number(value)) && Number(value) >= min;
const isHttpUrl = (value: string): boolean => URL.canParse(value) && new URL(value).protocol === "http:";

const durationRule = "a duration such as 30s, 1m30s or a number of seconds";
const durations = ["exec_timeout", "read_timeout", "write_timeout", "healthcheck_interval", "start_timeout"];
const booleans = ["prefix_logs", "log_callid", "cgi_headers", "marshal_request", "combine_output", "RAW_BODY"];

// The watchdog's own rules: it would refuse to start, and whoever deploys learns it before anything runs.
const rules: readonly Rule[] = [
  ["mode", `one of ${modes.join(", ")}`, (value) => modes.includes(value)],
  ...durations.map((key): Rule => [key, durationRule, isDuration]),
  ...booleans.map((key): Rule => [key, "true, false, 1 or 0", isBoolean]),
  ["write_timeout", "more than 0", (value) => parseDurationMs(value) !== 0],
  ["max_inflight", "a whole number of at least 0", isWhole(0)],
  ["pool_size", "a whole number of at least 1", isWhole(1)],
  ["log_buffer_size", "a whole number of at least -1", isWhole(-1)],
  ["upstream_url", "an address such as http://127.0.0.1:3000", isHttpUrl],
  ["http_upstream_url", "an address such as http://127.0.0.1:3000", isHttpUrl],
  ["ready_path", "a path that begins with /", (value) => value.startsWith("/")],
];

// What a process' environment can hold at all (environ(7)).
const checkName = (key: string, value: string): string | undefined => {
  if (key === "" || key.includes("=") || key.includes("\0"))
    return `envVars must have names without = and NUL; got ${JSON.stringify(key)}`;
  return value.includes("\0") ? `envVars.${key} must hold no NUL` : undefined;
};

const hasCommand = (env: Readonly<Record<string, string>>, envProcess: string | undefined): boolean =>
  [env["function_process"], envProcess ?? env["fprocess"]].some((command) => (command ?? "").trim() !== "");

/** What is wrong with a function's environment, a sentence each; empty when nothing is. An empty value counts as absent. */
export const checkEnvironment = (env: Readonly<Record<string, string>>): readonly string[] => {
  const faults = Object.entries(env).flatMap(([key, value]) => checkName(key, value) ?? []);
  for (const [key, rule, holds] of rules) {
    const value = env[key];
    if (value !== undefined && value !== "" && !holds(value))
      faults.push(`envVars.${key} must be ${rule}; got ${JSON.stringify(value)}`);
  }
  return faults;
};

/** What is wrong with the command of a bundle, a sentence or none. An image brings a command of its own. */
export const checkCommand = (
  env: Readonly<Record<string, string>>,
  envProcess: string | undefined,
): readonly string[] => {
  const mode = env["mode"] || "streaming";
  if (modesWithoutCommand.includes(mode) || hasCommand(env, envProcess)) return [];
  return [`envProcess must be a command in mode ${mode}; got ${JSON.stringify(envProcess ?? env["fprocess"] ?? "")}`];
};
