import { randomUUID } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { RequestHead } from "../../schemas/invocation.ts";
import { readTraceHeaders } from "../../schemas/trace-context.ts";

/** What is read of a request's head in one pass over its raw headers. */
export interface CallHead {
  readonly callId: string;
  readonly contentType: string | undefined;
  /** Undefined where it is absent or malformed. */
  readonly traceparent: string | undefined;
  readonly tracestate: string | undefined;
  readonly head: RequestHead;
}

// RFC 9110 §7.6.1 and its registry: these speak of one connection, not of the message.
const hopByHop = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "proxy-authenticate",
  "proxy-authorization",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "expect",
]);

/** Tells whether a header, by its name in lower case, ends at this hop. */
export const endsHere = (name: string): boolean => hopByHop.has(name);

const maxCallIdLength = 128;

const userAgent = "busker-gateway";

/**
 * The head as the function gets it: the client's headers as they were sent, without those that end at this hop, and
 * with what OpenFaaS's gateway adds (contract §1.3): `X-Call-Id`, `X-Start-Time` in nanoseconds, `X-Forwarded-*` where absent.
 */
export const readCallHead = (request: IncomingMessage, path: string, startNs: string): CallHead => {
  const raw = request.rawHeaders;
  const { connection } = request.headers;
  const named = connection === undefined || connection === "keep-alive" ? undefined : connection.toLowerCase();
  const headers: string[] = [];
  let callId: string | undefined;
  let contentType: string | undefined;
  let traceparent: string | undefined;
  let tracestate: string | undefined;
  let forwardedFor = false;
  let forwardedHost = false;
  let agent = false;
  for (let at = 0; at < raw.length; at += 2) {
    const name = raw[at] ?? "";
    const value = raw[at + 1] ?? "";
    const lower = name.toLowerCase();
    if (hopByHop.has(lower) || (named !== undefined && isNamed(named, lower))) continue;
    if (lower === "x-call-id" && value.length > 0 && value.length <= maxCallIdLength) callId = value;
    else if (lower === "x-call-id" || lower === "x-start-time") continue;
    else if (lower === "content-type") contentType = value;
    // Two of them say nothing (W3C Trace Context); of the state each is a part.
    else if (lower === "traceparent") traceparent = traceparent === undefined ? value : "";
    else if (lower === "tracestate") tracestate = tracestate === undefined ? value : `${tracestate},${value}`;
    else if (lower === "x-forwarded-for") forwardedFor = true;
    else if (lower === "x-forwarded-host") forwardedHost = true;
    else if (lower === "user-agent") agent = true;
    headers.push(name, value);
  }
  if (callId === undefined) headers.push("X-Call-Id", (callId = randomUUID()));
  headers.push("X-Start-Time", startNs);
  if (!forwardedFor) headers.push("X-Forwarded-For", `${request.socket.remoteAddress}:${request.socket.remotePort}`);
  if (!forwardedHost && request.headers.host !== undefined) headers.push("X-Forwarded-Host", request.headers.host);
  if (!agent) headers.push("User-Agent", userAgent);
  if (traceparent !== undefined) ({ traceparent, tracestate } = readTraceHeaders(traceparent, tracestate));
  else tracestate = undefined;
  return { callId, contentType, traceparent, tracestate, head: { method: request.method ?? "GET", path, headers } };
};

const isNamed = (connection: string, name: string): boolean =>
  connection.split(",").some((part) => part.trim() === name);
