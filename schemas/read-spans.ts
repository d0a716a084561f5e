import { type ReplicaSpans, type SpanAttributes, type SpanData, type SpanLink, spanKinds } from "./span.ts";

type Fields = Readonly<Record<string, unknown>>;

const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);

// Room for everything that a watchdog writes, and no more: what is kept of it is in memory until it is exported.
const maxSpans = 5000;
const maxAttributes = 32;
const maxTextLength = 1024;

const isText = (value: unknown): value is string => typeof value === "string" && value.length <= maxTextLength;

const isTraceId = (value: unknown): boolean => typeof value === "string" && /^[0-9a-f]{32}$/.test(value);
const isSpanId = (value: unknown): boolean => typeof value === "string" && /^[0-9a-f]{16}$/.test(value);

// To the year 5138: seconds of it are safe numbers of OTLP.
const isTime = (value: unknown): boolean => typeof value === "number" && value >= 0 && value < 1e14;

const isAttributes = (value: unknown): value is SpanAttributes => {
  if (!isFields(value)) return false;
  const entries = Object.entries(value);
  return (
    entries.length <= maxAttributes &&
    entries.every(([name, of]) => isText(name) && (isText(of) || typeof of === "boolean" || Number.isFinite(of)))
  );
};

const isLink = (value: unknown): value is SpanLink =>
  isFields(value) && isTraceId(value["traceId"]) && isSpanId(value["spanId"]);

const isLinks = (value: unknown): boolean =>
  Array.isArray(value) && value.length <= maxAttributes && value.every(isLink);

const isOptional = (value: unknown, isValid: (of: unknown) => boolean): boolean =>
  value === undefined || isValid(value);

const isSpan = (value: unknown): value is SpanData =>
  isFields(value) &&
  isTraceId(value["traceId"]) &&
  isSpanId(value["spanId"]) &&
  isOptional(value["parentId"], isSpanId) &&
  isText(value["name"]) &&
  spanKinds.some((kind) => kind === value["kind"]) &&
  isTime(value["startMs"]) &&
  isTime(value["endMs"]) &&
  isAttributes(value["attributes"]) &&
  isOptional(value["error"], isText) &&
  isOptional(value["links"], isLinks);

const parse = (json: string): unknown => {
  try {
    return JSON.parse(json);
  } catch {
    // Not JSON is no span event: the caller says so, as of every other fault.
    return undefined;
  }
};

/** The data of a span event; undefined when it is none. Replicas are not trusted: nothing in it goes on unseen. */
export const readSpans = (json: string): ReplicaSpans | undefined => {
  const data = parse(json);
  if (!isFields(data) || !Array.isArray(data["spans"]) || data["spans"].length > maxSpans) return undefined;
  if (!Number.isSafeInteger(data["dropped"]) || !data["spans"].every(isSpan)) return undefined;
  return data as unknown as ReplicaSpans;
};
