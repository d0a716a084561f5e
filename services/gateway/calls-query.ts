import { BuskerError } from "../../schemas/errors.ts";
import { parseDurationMs } from "../../schemas/function.ts";
import { type CallKind, callKinds, type ListedState, listedStates } from "../../schemas/listed-states.ts";
import { type FunctionName, parseFunctionName } from "../../schemas/names.ts";
import { queryText } from "./app.ts";

/** Which calls are asked for. */
export interface CallFilter {
  readonly function: FunctionName | undefined;
  readonly state: ListedState | undefined;
  /** Absent: both. */
  readonly kind: CallKind | undefined;
}

/** A request for a list of calls. */
export interface CallsQuery extends CallFilter {
  readonly since: Date;
  readonly until: Date | undefined;
  readonly limit: number;
  readonly follow: boolean;
}

type Query = Readonly<Record<string, string | string[] | undefined>>;

const lookBack = "1h";
const defaultLimit = 100;
const maxLimit = 1000;

const refuse = (parameter: string, rule: string, value: string): BuskerError =>
  new BuskerError("invalid_request", `${parameter} must be ${rule}; got ${JSON.stringify(value.slice(0, 200))}`);

const isoTime = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)$/i;

const readTime = (parameter: string, value: string, now: Date): Date => {
  const durationMs = parseDurationMs(value);
  const atMs = durationMs !== undefined ? now.getTime() - durationMs : isoTime.test(value) ? Date.parse(value) : NaN;
  if (!(Math.abs(atMs) <= 8.64e15))
    throw refuse(parameter, "a duration such as 1h, back from now, or an RFC 3339 time with its zone", value);
  return new Date(atMs);
};

const readOneOf = <T extends string>(parameter: string, known: readonly T[], value: string): T => {
  const found = known.find((word) => word === value);
  if (found === undefined) throw refuse(parameter, `one of ${known.join(", ")}`, value);
  return found;
};

/** Reads `limit`: 1 to 1000, 100 where it is not said. Throws `invalid_request`. */
export const readLimit = (query: Query): number => {
  const text = queryText(query["limit"]);
  if (text === undefined) return defaultLimit;
  const limit = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (limit < 1 || limit > maxLimit) throw refuse("limit", `a whole number from 1 to ${maxLimit}`, text);
  return limit;
};

/** Reads `true`, `false`, `1` or `0`; false where nothing is said. Throws `invalid_request`. */
export const readFlag = (query: Query, parameter: string): boolean => {
  const text = queryText(query[parameter]) ?? "false";
  if (!/^(true|false|1|0)$/.test(text)) throw refuse(parameter, "true or false", text);
  return text === "true" || text === "1";
};

/** Reads `function` as `NAME` or `NAME.NAMESPACE`; undefined where nothing is said. Throws `invalid_request`. */
export const readFunction = (query: Query): FunctionName | undefined => {
  const text = queryText(query["function"]);
  return text === undefined ? undefined : parseFunctionName(text);
};

/** Reads the query of `/system/calls`. Throws `invalid_request` naming the parameter, the rule and the value. */
export const readCallsQuery = (query: Query, now: Date): CallsQuery => {
  const text = (key: string): string | undefined => queryText(query[key]);
  const [state, kind, until] = [text("state"), text("kind"), text("until")];
  return {
    function: readFunction(query),
    state: state === undefined ? undefined : readOneOf("state", listedStates, state),
    kind: kind === undefined ? undefined : readOneOf("kind", callKinds, kind),
    since: readTime("since", text("since") ?? lookBack, now),
    until: until === undefined ? undefined : readTime("until", until, now),
    limit: readLimit(query),
    follow: readFlag(query, "follow"),
  };
};
