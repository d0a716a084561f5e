import { parseDurationMs } from "./function.ts";

/*
 * What a function's environment may say to its watchdog. Whoever deploys is told by the same rules by which the watchdog
 * would refuse to start.
 */

/** The ways to run a function, by the names of the variable `mode`. */
export const modeNames = ["streaming", "serializing", "http", "static", "handler", "pool"] as const;
export type ModeName = (typeof modeNames)[number];

/** The mode of a function that names none. */
export const defaultMode: ModeName = "streaming";

const modesWithoutCommand: readonly string[] = ["static", "handler"] satisfies readonly ModeName[];

/** Whether a mode runs a command; in the others the watchdog itself is the server. */
export const needsCommand = (mode: string): boolean => !modesWithoutCommand.includes(mode);

/** What one variable must be, as the end of a sentence "KEY must be …", and its value; undefined for a text that is not. */
export interface SettingRule<T> {
  readonly rule: string;
  readonly parse: (text: string) => T | undefined;
}

const mode: SettingRule<ModeName> = {
  rule: `one of ${modeNames.join(", ")}`,
  parse: (text) => modeNames.find((name) => name === text),
};

const duration: SettingRule<number> = {
  rule: "a duration such as 30s, 1m30s or a number of seconds",
  parse: parseDurationMs,
};

const positiveDuration: SettingRule<number> = {
  rule: "a duration of more than 0, such as 30s",
  parse: (text) => parseDurationMs(text) || undefined,
};

const booleans: Readonly<Record<string, boolean>> = { true: true, "1": true, false: false, "0": false };

const boolean: SettingRule<boolean> = {
  rule: "true, false, 1 or 0",
  parse: (text) => booleans[text.toLowerCase()],
};

const wholeFrom = (min: number): SettingRule<number> => ({
  rule: `a whole number of at least ${min}`,
  parse: (text) => {
    const number = Number(text);
    return Number.isSafeInteger(number) && number >= min ? number : undefined;
  },
});

const httpUrl: SettingRule<string> = {
  rule: "an address such as http://127.0.0.1:3000",
  parse: (text) => (URL.canParse(text) && new URL(text).protocol === "http:" ? text : undefined),
};

const path: SettingRule<string> = {
  rule: "a path that begins with /",
  parse: (text) => (text.startsWith("/") ? text : undefined),
};

/** The rule of each variable that has one; durations are in milliseconds. An empty variable counts as absent. */
export const settingRules = {
  mode,
  exec_timeout: duration,
  read_timeout: duration,
  write_timeout: positiveDuration,
  healthcheck_interval: duration,
  start_timeout: duration,
  max_inflight: wholeFrom(0),
  pool_size: wholeFrom(1),
  log_buffer_size: wholeFrom(-1),
  prefix_logs: boolean,
  log_callid: boolean,
  cgi_headers: boolean,
  marshal_request: boolean,
  combine_output: boolean,
  RAW_BODY: boolean,
  upstream_url: httpUrl,
  http_upstream_url: httpUrl,
  ready_path: path,
} as const satisfies Readonly<Record<string, SettingRule<unknown>>>;

export type SettingKey = keyof typeof settingRules;
/** What a variable's text becomes. */
export type SettingValue<K extends SettingKey> = NonNullable<ReturnType<(typeof settingRules)[K]["parse"]>>;

/** What is wrong with a variable's text, as a sentence that begins with `name`; undefined when nothing is. */
export const settingFault = (key: SettingKey, text: string, name: string = key): string | undefined =>
  settingRules[key].parse(text) === undefined
    ? `${name} must be ${settingRules[key].rule}; got ${JSON.stringify(text)}`
    : undefined;
