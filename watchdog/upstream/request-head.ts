import { BuskerError } from "../../schemas/errors.ts";
import type { Call } from "../mode.ts";
import {
  connectionTokens,
  isHopHeader,
  specialName,
  targetPattern,
  tokenPattern,
  valuePattern,
  withoutHeaders,
} from "./http-syntax.ts";

/** Where requests go. */
export interface RequestTarget {
  /** `host:port`, for calls that bring no `Host`. */
  readonly authority: string;
  /** Put before every path; empty or without a slash at its end. */
  readonly pathPrefix: string;
}

const refuse = (what: string, rule: string, value: string): never => {
  throw new BuskerError(
    "invalid_request",
    `cannot pass the call to the function: ${what} must be ${rule}; got ${JSON.stringify(value.slice(0, 200))}`,
  );
};

/** Methods whose empty body needs no length (RFC 9110 section 8.6). */
const bodyless: ReadonlySet<string> = new Set(["GET", "HEAD", "DELETE", "OPTIONS", "TRACE", "CONNECT"]);

/** A header that says what the platform says itself: the length of the body, and `Expect`, as the body is here already. */
const isRestated = (name: string): boolean => name === "content-length" || name === "expect";

const requestLine = (call: Call, { pathPrefix }: RequestTarget): string => {
  if (!tokenPattern.test(call.method)) refuse("the method", "a token", call.method);
  if (!targetPattern.test(call.path)) refuse("the path", "a / and visible characters", call.path);
  return `${call.method} ${pathPrefix}${call.path} HTTP/1.1\r\n`;
};

const headersOf = (call: Call): readonly string[] => {
  const names = new Set<string>();
  for (let index = 0; index + 1 < call.headers.length; index += 2)
    if (specialName(call.headers[index] ?? "") === "connection")
      for (const token of connectionTokens(call.headers[index + 1] ?? "")) names.add(token);
  return names.size === 0 ? call.headers : withoutHeaders(call.headers, names);
};

/** How long the whole body of a streamed call is by its own `Content-Length`; undefined when it does not say. */
export const streamedLength = (call: Call): number | undefined => {
  const at = call.headers.findIndex((name, index) => index % 2 === 0 && name.toLowerCase() === "content-length");
  const text = at < 0 ? "" : (call.headers[at + 1] ?? "");
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
};

/** What ends at each hop and is said anew, and the length. */
const framingLine = (call: Call): string => {
  if (call.upgrade) return `Connection: Upgrade\r\nUpgrade: ${call.upgrade}\r\n`;
  if (!call.rest)
    return call.body.length > 0 || !bodyless.has(call.method) ? `Content-Length: ${call.body.length}\r\n` : "";
  const bytes = streamedLength(call);
  return bytes === undefined ? "Transfer-Encoding: chunked\r\n" : `Content-Length: ${bytes}\r\n`;
};

/**
 * The head of a request as it goes to the function: hop-by-hop headers left out, `Host`, `X-Call-Id`, and the length or
 * the upgrade added. Throws `invalid_request` for whatever could be read as something else by the function's server.
 */
export const buildRequestHead = (call: Call, target: RequestTarget): string => {
  let head = requestLine(call, target);
  let hasHost = false;
  let hasCallId = false;
  const headers = headersOf(call);
  for (let index = 0; index + 1 < headers.length; index += 2) {
    const name = headers[index] ?? "";
    const value = headers[index + 1] ?? "";
    const special = specialName(name);
    if (special !== "" && (isHopHeader(special) || isRestated(special))) continue;
    if (!tokenPattern.test(name)) refuse("a header's name", "a token", name);
    if (!valuePattern.test(value)) refuse(`the header ${name}`, "free of control characters and within Latin-1", value);
    if (special === "host") hasHost = true;
    if (name.length === 9 && name.toLowerCase() === "x-call-id") hasCallId = true;
    head += `${name}: ${value}\r\n`;
  }
  if (!hasHost) head += `Host: ${target.authority}\r\n`;
  if (!hasCallId) head += `X-Call-Id: ${call.id}\r\n`;
  return `${head}${framingLine(call)}\r\n`;
};
