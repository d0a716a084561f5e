import { BuskerError } from "../../schemas/errors.ts";
import { parseDurationMs } from "../../schemas/function.ts";

/** An environment: what a process was started with, or a literal in a test. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** One key of a configuration: where it is read, and how its text becomes a value. */
export interface Field<T> {
  readonly key: string;
  /** Given the text, or undefined when the key is absent or empty; throws a RangeError that states the rule. */
  readonly read: (text: string | undefined) => T;
}

const required = (text: string | undefined): string => {
  if (text === undefined) throw new RangeError("must be set");
  return text;
};

const orDefault =
  <T>(fallback: T | undefined, parse: (text: string) => T) =>
  (text: string | undefined): T =>
    text === undefined && fallback !== undefined ? fallback : parse(required(text));

/** Any text; required when there is no default. */
export const textField = (key: string, fallback?: string): Field<string> => ({
  key,
  read: orDefault(fallback, (text) => text),
});

/** A whole number from `min` to `max`, both included. */
export const integerField = (key: string, range: { min: number; max: number }, fallback?: number): Field<number> => ({
  key,
  read: orDefault(fallback, (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= range.min && value <= range.max) return value;
    throw new RangeError(`must be a whole number from ${range.min} to ${range.max}`);
  }),
});

/** A TCP port, 0 (any free one) included. */
export const portField = (key: string, fallback?: number): Field<number> =>
  integerField(key, { min: 0, max: 65_535 }, fallback);

/** A Go duration (`1m30s`) or whole seconds, in milliseconds. */
export const durationField = (key: string, fallbackMs?: number): Field<number> => ({
  key,
  read: orDefault(fallbackMs, (text) => {
    const value = parseDurationMs(text);
    if (value !== undefined) return value;
    throw new RangeError("must be whole seconds or a duration such as 250ms, 30s or 1m30s");
  }),
});

/** One of a few words. */
export const choiceField = <const T extends string>(
  key: string,
  choices: readonly T[],
  fallback?: NoInfer<T>,
): Field<T> => ({
  key,
  read: orDefault<T>(fallback, (text) => {
    const found = choices.find((choice) => choice === text);
    if (found !== undefined) return found;
    throw new RangeError(`must be one of ${choices.join(", ")}`);
  }),
});

/**
 * Reads every field from an environment into a frozen record. All faults are collected and thrown together as one
 * `invalid_request`, a line each: key, rule, and the value met. An empty value counts as absent.
 */
export const readConfig = <T extends object>(
  env: Environment,
  fields: { readonly [K in keyof T]: Field<T[K]> },
): Readonly<T> => {
  const faults: string[] = [];
  const config: Partial<T> = {};
  for (const [name, field] of Object.entries(fields) as [keyof T, Field<T[keyof T]>][]) {
    const text = env[field.key] === "" ? undefined : env[field.key];
    try {
      config[name] = field.read(text);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      faults.push(`${field.key} ${error.message}; got ${text === undefined ? "nothing" : JSON.stringify(text)}`);
    }
  }
  if (faults.length > 0) throw new BuskerError("invalid_request", faults.join("\n"));
  return Object.freeze(config as T);
};
