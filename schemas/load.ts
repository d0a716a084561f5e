import { amount, type JsonSchema, object, whole } from "./json-schema.ts";

/**
 * Data of an event in the log of loads: one minute of one function, as the active scaler has seen it. Minutes without calls
 * are counted by the next event instead of having their own; of a function that is not called there is one every six hours.
 */
export interface LoadMinute {
  /** Minutes since the epoch. */
  readonly minute: number;
  /** Minutes right before this one in which the function was watched, and nobody called it. */
  readonly quiet: number;
  /** Calls begun. */
  readonly started: number;
  /** Most calls at a time, in replicas and in line. */
  readonly peak: number;
  /** How long calls took that ended in it, in the mean. */
  readonly meanMs: number;
  /** The second of the minute in which the first call was begun; 0 where none was. */
  readonly first: number;
  /** The second of the minute in which the last call was begun; 0 where none was. */
  readonly last: number;
  /** How long a replica took to start lately; absent while none was seen to. */
  readonly startMs?: number;
}

/** How long the log of loads is kept, in milliseconds: eight weeks, and some days to spare. */
export const loadLogMs = 60 * 24 * 3600_000;

/** The JSON Schema of `LoadMinute`. */
export const loadMinuteSchema: JsonSchema = object(
  {
    minute: whole("Minutes since the epoch"),
    quiet: whole("Minutes right before this one that were watched and had no calls"),
    started: whole("Calls begun"),
    peak: whole("Most calls at a time, in replicas and in line"),
    meanMs: amount("Mean duration of the calls that ended in it, in milliseconds"),
    first: whole("Second of the minute in which the first call was begun; 0 where none was"),
    last: whole("Second of the minute in which the last call was begun; 0 where none was"),
  },
  { startMs: amount("How long a replica took to start lately, in milliseconds") },
);

const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && Number(value) >= 0;

const isAmount = (value: unknown): boolean => typeof value === "number" && value >= 0 && Number.isFinite(value);

/** Reads an event's data; undefined for what is no minute of load. */
export const readLoadMinute = (text: string): LoadMinute | undefined => {
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof data !== "object" || data === null) return undefined;
  const load = data as Readonly<Record<string, unknown>>;
  const isWhole = ["minute", "quiet", "started", "peak", "first", "last"].every((key) => isCount(load[key]));
  if (!isWhole || !isAmount(load["meanMs"])) return undefined;
  return load["startMs"] === undefined || isAmount(load["startMs"]) ? (data as LoadMinute) : undefined;
};
