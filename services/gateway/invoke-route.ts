import type { IncomingMessage, ServerResponse } from "node:http";
import { BuskerError } from "../../schemas/errors.ts";
import type { CallResult } from "../bus/function-calls.ts";
import type { Invoker } from "../bus/invoker.ts";
import type { Directory, FunctionEntry } from "./directory.ts";
import { sendError } from "./error-reply.ts";
import type { GatewayMetrics } from "./gateway-metrics.ts";
import { type CallHead, endsHere, readCallHead } from "./http-head.ts";
import { collectBody } from "./read-body.ts";
import { servedBy } from "./version.ts";

/** What an invocation needs. */
export interface InvokeParts {
  readonly directory: Directory;
  readonly invoker: Invoker;
  readonly metrics: GatewayMetrics;
  readonly maxBodyBytes: number;
}

const prefix = "/function/";
const methods = new Set(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]);

/** Tells whether a URL is an invocation: `/function/NAME…`. */
export const isInvocation = (url: string): boolean => url.startsWith(prefix);

/** Splits `/function/NAME[.NS][/rest][?query]` into the name and the rest, which begins with `/` and is not decoded. */
export const splitUrl = (url: string): { readonly name: string; readonly path: string } => {
  let end = prefix.length;
  while (end < url.length && url[end] !== "/" && url[end] !== "?") end += 1;
  const rest = url.slice(end);
  return { name: url.slice(prefix.length, end), path: rest.startsWith("/") ? rest : `/${rest}` };
};

const findFunction = (directory: Directory, method: string, name: string): FunctionEntry => {
  if (!methods.has(method))
    throw new BuskerError(
      "method_not_allowed",
      `method ${method} is not taken; functions take ${[...methods].join(", ")}`,
    );
  const entry = directory.find(name);
  if (entry) return entry;
  throw new BuskerError("function_not_found", `there is no function ${name}`);
};

/** Answers one invocation: event out, reply back. Everything is settled by callbacks, because this is the hot path. */
export const createInvokeRoute =
  ({ directory, invoker, metrics, maxBodyBytes }: InvokeParts) =>
  (request: IncomingMessage, response: ServerResponse): void => {
    const startMs = Date.now();
    const { name, path } = splitUrl(request.url ?? "/");
    let entry: FunctionEntry;
    try {
      entry = findFunction(directory, request.method ?? "", name);
    } catch (error) {
      if (error instanceof BuskerError && error.code === "method_not_allowed")
        response.setHeader("Allow", [...methods].join(", "));
      const { callId } = readCallHead(request, path, `${startMs}000000`);
      sendError(response, error, callId);
      return;
    }
    const startNs = `${startMs}000000`;
    const call = readCallHead(request, path, startNs);
    metrics.started(entry.function);
    const settle = (status: number): void => metrics.finished(entry.function, status, (Date.now() - startMs) / 1000);
    collectBody(request, maxBodyBytes, (body) => {
      if (body instanceof BuskerError) {
        settle(sendError(response, body, call.callId, startNs));
        return;
      }
      // A call may be refused before invoke() has returned: then there is nothing to cancel any more.
      let answered = false;
      const cancel = invoker.invoke(
        { function: entry.function, ...call, body, deadlineMs: startMs + entry.timeoutMs },
        (result) => {
          answered = true;
          settle(trySendResult(response, request.method === "HEAD", call, startNs, result));
        },
      );
      if (!answered)
        response.once("close", () => {
          if (answered) return;
          cancel();
          settle(499);
        });
    });
  };

/** Sends a result and gives its status; an answer that cannot be written as HTTP is an error, and is said. */
const trySendResult: typeof sendResult = (response, isHead, call, startNs, result) => {
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
  result: CallResult,
): number => {
  if (result.kind === "failed") return sendError(response, result.error, call.callId, startNs);
  const { reply, body } = result;
  const { status } = reply.head;
  const headers: string[] = [];
  const bodiless = isHead || status === 204 || status === 304;
  let hasType = false;
  for (let at = 0; at < reply.head.headers.length; at += 2) {
    const name = reply.head.headers[at] ?? "";
    const lower = name.toLowerCase();
    if (endsHere(lower) || (lower === "content-length" && !bodiless)) continue;
    if (lower === "content-type") hasType = true;
    headers.push(name, reply.head.headers[at + 1] ?? "");
  }
  if (!hasType && !bodiless) headers.push("Content-Type", call.contentType ?? "text/plain");
  headers.push("X-Call-Id", call.callId, "X-Start-Time", startNs, "X-Served-By", servedBy);
  if (reply.error !== undefined) headers.push("X-OpenFaaS-Internal", "watchdog");
  if (status === 429 || status === 503) addRetryAfter(headers);
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

const addRetryAfter = (headers: string[]): void => {
  if (!headers.some((name, at) => at % 2 === 0 && name.toLowerCase() === "retry-after"))
    headers.push("Retry-After", "1");
};
