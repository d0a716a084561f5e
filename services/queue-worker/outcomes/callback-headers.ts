import type { Attempt, CallRecord } from "../../../schemas/call.ts";
import type { ResponseHead } from "../../../schemas/invocation.ts";
import { defaultNamespace, formatFunctionName } from "../../../schemas/names.ts";
import { callToken } from "../../../schemas/subjects.ts";
import { withTraceHeaders } from "../../../schemas/trace-context.ts";

/** Header names and values in turn. */
export type HeaderList = readonly string[];

// Of a connection and not of a message (RFC 9110 §7.6.1), or of the body as it is sent here anew; `Expect` would have us wait.
const notPassedOn = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "host",
  "content-length",
  "expect",
]);

const isOurs = (name: string): boolean =>
  name === "user-agent" ||
  name.startsWith("webhook-") ||
  name === "traceparent" ||
  name === "tracestate" ||
  /^x-(call-id|parent-call-id|duration-seconds|function-status|function-name|start-time|retry|retry-max|busker-depth)$/.test(
    name,
  );

/** The headers of a response that may go on: none of its connection, none that is told of the call. */
export const passedOnHeaders = ({ headers }: ResponseHead): HeaderList => {
  const named = new Set<string>();
  for (let at = 0; at + 1 < headers.length; at += 2)
    if (headers[at]?.toLowerCase() === "connection")
      for (const name of headers[at + 1]?.split(",") ?? []) named.add(name.trim().toLowerCase());
  const kept: string[] = [];
  for (let at = 0; at + 1 < headers.length; at += 2) {
    const name = headers[at]?.toLowerCase() ?? "";
    if (!notPassedOn.has(name) && !named.has(name) && !isOurs(name))
      kept.push(headers[at] ?? "", headers[at + 1] ?? "");
  }
  return kept;
};

/** The function as `X-Function-Name` has it: with its namespace where that is not the usual one. */
const functionNameOf = ({ function: name }: CallRecord): string =>
  name.namespace === defaultNamespace ? name.name : formatFunctionName(name);

const secondsOf = ({ startedMs, endedMs = startedMs }: Attempt): string =>
  (Math.max(0, endedMs - startedMs) / 1000).toFixed(6);

/** How the call went: the headers of contract §4.2 that do not name it. */
export const summaryHeaders = (record: CallRecord, status: number): HeaderList => {
  const last = record.attempts.at(-1);
  return [
    "X-Function-Status",
    String(status),
    "X-Function-Name",
    functionNameOf(record),
    "X-Duration-Seconds",
    last === undefined ? "0.000000" : secondsOf(last),
  ];
};

/** Where the call stands in a trace, for whoever is told of it. */
export const traceHeaders = (record: CallRecord): HeaderList => withTraceHeaders([], record);

/** A call id as a header may hold it: as it is where it is plain text, else as in subjects. */
export const headerId = (id: string): string => (/^[\x21-\x7e]+$/.test(id) ? id : callToken(id));

/**
 * What a callback says of its call (contract §4.2). `X-Retry` counts the attempts after the first, `X-Retry-Max` how many there
 * could have been; `X-Start-Time` is in nanoseconds, as the gateway's is.
 */
export const callbackHeaders = (record: CallRecord, status: number, retriesMax: number | undefined): HeaderList => {
  const retries = Math.max(0, record.attempts.filter((attempt) => !attempt.isFree).length - 1);
  return [
    "X-Call-Id",
    headerId(record.id),
    ...summaryHeaders(record, status),
    "X-Start-Time",
    `${Math.round(record.queuedMs)}000000`,
    "X-Retry",
    String(retries),
    ...(retriesMax === undefined ? [] : ["X-Retry-Max", String(Math.max(retries, retriesMax))]),
    ...traceHeaders(record),
  ];
};
