import { InvalidArgumentError } from "commander";
import { parseDurationMs } from "../../schemas/function.ts";

/** Reads an option that is a time, or a duration back from now; gives RFC 3339. */
export const parseSince = (text: string): string => {
  const durationMs = parseDurationMs(text);
  if (durationMs !== undefined) return new Date(Date.now() - durationMs).toISOString();
  if (/^\d{4}-\d\d-\d\dT/.test(text) && !Number.isNaN(Date.parse(text))) return text;
  throw new InvalidArgumentError("It must be a duration such as 5m or a time such as 2026-01-31T12:00:00Z.");
};

/** Reads an option that is a duration; gives milliseconds. */
export const parseTimeout = (text: string): number => {
  const durationMs = parseDurationMs(text);
  if (durationMs !== undefined) return durationMs;
  throw new InvalidArgumentError("It must be a duration such as 30s or 5m.");
};

/** Reads an option that is a whole number; gives it as it is written. */
export const parseWhole = (text: string): string => {
  if (/^\d+$/.test(text)) return text;
  throw new InvalidArgumentError("It must be a whole number.");
};
