import type { IncomingMessage, ServerResponse } from "node:http";
import { BuskerError } from "../../schemas/errors.ts";
import { parseEventId } from "../../schemas/invocation.ts";
import type { Invoker } from "../bus/invoker.ts";
import type { KeptReader } from "../bus/kept-reader.ts";
import type { Directory, FunctionEntry } from "./directory.ts";
import { sendError } from "./error-reply.ts";
import type { GatewayMetrics } from "./gateway-metrics.ts";
import { readCallHead } from "./http-head.ts";
import { takeBody } from "./read-body.ts";
import { trySendResult } from "./send-result.ts";
import { sendKeptFrom, sendNewKept, type Viewer } from "./send-kept.ts";
import { sendStream } from "./send-stream.ts";

/** What an invocation needs. */
export interface InvokeParts {
  readonly directory: Directory;
  readonly invoker: Invoker;
  readonly kept: KeptReader;
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
  ({ directory, invoker, kept, metrics, maxBodyBytes }: InvokeParts) =>
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
    const keepsEvents = entry.keepsEvents && request.method !== "HEAD";
    const viewerOf = (): Viewer => ({ response, call, startNs, reader: kept, function: entry.function });
    const position = keepsEvents ? parseEventId(request.headers["last-event-id"]?.toString() ?? "") : undefined;
    if (position) {
      // Nobody reads what it may have sent: its call has been begun before.
      request.resume();
      return void sendKeptFrom(viewerOf(), position);
    }
    metrics.started(entry.function);
    const settle = (status: number): void => metrics.finished(entry.function, status, (Date.now() - startMs) / 1000);
    takeBody(request, maxBodyBytes, (taken) => {
      if (taken instanceof BuskerError) {
        settle(sendError(response, taken, call.callId, startNs));
        return;
      }
      const isWhole = taken instanceof Uint8Array;
      // A call may be refused before invoke() has returned: then there is nothing to cancel any more.
      let isOver = false;
      let isKept = false;
      const end = (status: number): void => {
        isOver = true;
        settle(status);
      };
      const cancel = invoker.invoke(
        {
          function: entry.function,
          ...call,
          body: isWhole ? taken : taken.first,
          upload: isWhole ? undefined : taken.writeTo,
          deadlineMs: startMs + entry.timeoutMs,
          canStream: true,
          keepsEvents,
        },
        (result) => {
          // Nobody else reads what the client still sends: unread, it would keep the connection from its next request.
          if (!isWhole && result.kind !== "streaming") request.resume();
          if (result.kind !== "streaming")
            return end(trySendResult(response, request.method === "HEAD", call, startNs, result));
          if (keepsEvents && result.reply.stream !== undefined) {
            isKept = true;
            return void sendNewKept(viewerOf(), result.reply.stream, result.rest, end);
          }
          sendStream({ response, call, startNs, result, cancel: () => cancel(), end });
        },
      );
      if (!isOver)
        response.once("close", () => {
          // A kept answer goes on for whoever comes back.
          if (isOver || isKept) return;
          cancel();
          end(499);
        });
    });
  };
