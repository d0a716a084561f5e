import type { IncomingMessage, ServerResponse } from "node:http";
import { BuskerError } from "../../schemas/errors.ts";
import { type EventPosition, parseEventId } from "../../schemas/invocation.ts";
import type { CallerSamples } from "../bus/caller-samples.ts";
import type { Invoker } from "../bus/invoker.ts";
import type { KeptReader } from "../bus/kept-reader.ts";
import { type ClientSocket, openClientSocket } from "./client-socket.ts";
import type { Tracing } from "../runtime/tracing.ts";
import type { Directory, FunctionEntry } from "./directory.ts";
import { sendError } from "./error-reply.ts";
import { readCallHead } from "./http-head.ts";
import { splitUrl } from "./invocation-url.ts";
import { onceGone } from "./once-gone.ts";
import { takeBody } from "./read-body.ts";
import { trySendResult } from "./send-result.ts";
import { sendKeptFrom, sendNewKept, type Viewer } from "./send-kept.ts";
import { allowMethods, assertMethod } from "./methods.ts";
import { joinSocket } from "./send-socket.ts";
import { sendStream } from "./send-stream.ts";
import { traceRequest } from "./trace-call.ts";
import { openResponse, type Upgraded } from "./upgrade.ts";

/** What an invocation needs. */
export interface InvokeParts {
  readonly directory: Directory;
  readonly invoker: Invoker;
  readonly kept: KeptReader;
  readonly samples: Pick<CallerSamples, "of">;
  readonly maxBodyBytes: number;
  /** Absent: nothing is traced. */
  readonly tracing?: Tracing | undefined;
}

const route = "/function/:name";

const findFunction = (directory: Directory, method: string, name: string): FunctionEntry => {
  assertMethod(method);
  const entry = directory.find(name);
  if (entry) return entry;
  throw new BuskerError("function_not_found", `there is no function ${name}`);
};

/** Answers invocations: event out, reply back. Everything is settled by callbacks, because this is the hot path. */
export interface InvokeRoute {
  readonly onRequest: (request: IncomingMessage, response: ServerResponse) => void;
  /** A request that asks for a WebSocket. */
  readonly onUpgrade: (upgraded: Upgraded) => void;
}

/** What answering one call takes. `client` is there when it asks for a WebSocket. */
interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly client?: ClientSocket;
}

/** Hands over what a call's body is: of a WebSocket, nothing yet and all that its client will send. */
const takeCallBody = (exchange: Exchange, limit: number, done: Parameters<typeof takeBody>[2]): void => {
  const { client } = exchange;
  if (client) done({ first: new Uint8Array(), writeTo: client.writeTo });
  else takeBody(exchange, limit, done);
};

/** Creates the routes. */
export const createInvokeRoute = (parts: InvokeParts): InvokeRoute => {
  const { directory, invoker, kept, samples, maxBodyBytes, tracing } = parts;
  const answer = (exchange: Exchange): void => {
    const { request, response, client } = exchange;
    const startMs = Date.now();
    const { name, path } = splitUrl(request.url ?? "/");
    let entry: FunctionEntry;
    try {
      entry = findFunction(directory, request.method ?? "", name);
    } catch (error) {
      allowMethods(response, error);
      const { callId } = readCallHead(request, path, `${startMs}000000`);
      client?.refuse();
      sendError(response, error, callId);
      return;
    }
    const startNs = `${startMs}000000`;
    const read = readCallHead(request, path, startNs);
    const trace = tracing && traceRequest(tracing, { request, call: read, function: entry.function, route });
    const call = trace ? trace.call : read;
    const keepsEvents = entry.keepsEvents && !client && request.method !== "HEAD";
    const viewerOf = (): Viewer => ({ response, call, startNs, reader: kept, function: entry.function });
    let position: EventPosition | undefined;
    try {
      position = keepsEvents ? parseEventId(request.headers["last-event-id"]?.toString() ?? "") : undefined;
    } catch (error) {
      const status = sendError(response, error, call.callId, startNs);
      trace?.end(status);
      return;
    }
    if (position) {
      // No call is made, and when its reader leaves says nothing of one.
      trace?.end(200);
      // Nobody reads what it may have sent: its call has been begun before.
      request.resume();
      return void sendKeptFrom(viewerOf(), position);
    }
    const counts = samples.of(entry.function);
    counts.started();
    // A call may be refused before invoke() has returned: then there is nothing to cancel any more.
    let isOver = false;
    let isKept = false;
    let cancel = (): void => {};
    const end = (status: number): void => {
      isOver = true;
      trace?.end(status);
      counts.answered(status, (Date.now() - startMs) / 1000);
    };
    takeCallBody(exchange, maxBodyBytes, (taken) => {
      if (isOver) return;
      if (taken instanceof BuskerError) return end(sendError(response, taken, call.callId, startNs));
      const isWhole = taken instanceof Uint8Array;
      cancel = invoker.invoke(
        {
          function: entry.function,
          ...call,
          head: client ? { ...call.head, upgrade: "websocket" } : call.head,
          body: isWhole ? taken : taken.first,
          upload: isWhole ? undefined : taken.writeTo,
          deadlineMs: startMs + entry.timeoutMs,
          canStream: true,
          keepsEvents,
          onBound: trace?.dispatch(),
        },
        (result) => {
          if (client && result.kind === "streaming" && result.reply.head.status === 101) {
            response.detachSocket(client.socket);
            return joinSocket({ client, call, startNs, result, end });
          }
          client?.refuse();
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
    });
    if (isOver) return;
    const onGone = (): void => {
      // A kept answer goes on for whoever comes back.
      if (isOver || isKept) return;
      cancel();
      end(499);
    };
    if (client) client.socket.once("close", onGone);
    else onceGone(response, onGone);
  };
  return {
    onRequest: (request, response) => answer({ request, response }),
    onUpgrade: (upgraded) => {
      const response = openResponse(upgraded);
      if (response) answer({ request: upgraded.request, response, client: openClientSocket(upgraded) });
      else upgraded.socket.destroy();
    },
  };
};
