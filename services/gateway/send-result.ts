import type { ServerResponse } from "node:http";
import { BuskerError } from "../../schemas/errors.ts";
import type { CallResult } from "../bus/open-call.ts";
import type { ReceivedReply } from "../bus/invocation-wire.ts";
import { sendError } from "./error-reply.ts";
import { type CallHead, endsHere } from "./http-head.ts";
import { servedBy } from "./version.ts";

/** A call's end that is there as a whole. */
type WholeResult = Exclude<CallResult, { readonly kind: "streaming" }>;

/** Sends a result and gives its status; an answer that cannot be written as HTTP is an error, and is said. */
export const trySendResult: typeof sendResult = (response, isHead, call, startNs, result) => {
  try {
    return sendResult(response, isHead, call, startNs, result);
  } catch (cause) {
    const error = new BuskerError("function_unreachable", `the function's answer is not valid HTTP: ${String(cause)}`, {
      cause,
    });
    return sendError(response, error, call.callId, startNs);
  }
};

const sendResult = (
  response: ServerResponse,
  isHead: boolean,
  call: CallHead,
  startNs: string,
  result: WholeResult,
): number => {
  if (result.kind === "failed") return sendError(response, result.error, call.callId, startNs);
  const { reply, body } = result;
  const { status } = reply.head;
  const bodiless = isHead || status === 204 || status === 304;
  const headers = responseHeaders({ call, startNs, reply, keepsLength: bodiless, hasBody: !bodiless });
  if (!bodiless) headers.push("Content-Length", String(body.length));
  response.writeHead(status, headers);
  sendBody(response, bodiless ? undefined : body);
  return status;
};

// Up to here a body is copied next to its head.
const maxJoinedBytes = 16 * 1024;

// Node joins a string with the head it is sent with, and sends a buffer as a chunk of its own. Latin-1 maps every byte to
// one character and back, so nothing changes on the way.
const sendBody = (response: ServerResponse, body: Uint8Array | undefined): void => {
  if (body === undefined || body.length === 0) response.end();
  else if (body.length > maxJoinedBytes) response.end(body);
  else response.end(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString("latin1"), "latin1");
};

/**
 * Headers of a function's answer, its `Content-Length` only where it is not the gateway that counts. A 204 has none
 * (RFC 9110 §8.6).
 */
export const responseHeaders = (parts: {
  readonly call: Pick<CallHead, "callId" | "contentType">;
  readonly startNs: string;
  readonly reply: Pick<ReceivedReply, "head" | "error">;
  readonly keepsLength: boolean;
  readonly hasBody: boolean;
}): string[] => {
  const { call, startNs, reply, keepsLength, hasBody } = parts;
  const { status } = reply.head;
  const headers: string[] = [];
  let hasType = false;
  for (let at = 0; at < reply.head.headers.length; at += 2) {
    const name = reply.head.headers[at] ?? "";
    const lower = name.toLowerCase();
    if (endsHere(lower) || (lower === "content-length" && !(keepsLength && status !== 204))) continue;
    if (lower === "content-type") hasType = true;
    headers.push(name, reply.head.headers[at + 1] ?? "");
  }
  if (!hasType && hasBody) headers.push("Content-Type", call.contentType ?? "text/plain");
  headers.push("X-Call-Id", call.callId, "X-Start-Time", startNs, "X-Served-By", servedBy);
  if (reply.error !== undefined) headers.push("X-OpenFaaS-Internal", "watchdog");
  if (status === 429 || status === 503) addRetryAfter(headers);
  return headers;
};

const addRetryAfter = (headers: string[]): void => {
  if (!headers.some((name, at) => at % 2 === 0 && name.toLowerCase() === "retry-after"))
    headers.push("Retry-After", "1");
};
