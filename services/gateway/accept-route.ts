import type { IncomingMessage, ServerResponse } from "node:http";
import { readCallOptions } from "../../schemas/call-options.ts";
import { BuskerError } from "../../schemas/errors.ts";
import type { CallAcceptor } from "../bus/accept-calls.ts";
import { type CallIdentity, identifyCall, readGivenIds, withIdentity } from "../bus/call-ids.ts";
import type { CallRecords } from "../bus/call-records.ts";
import type { DurableCall } from "../bus/durable-call.ts";
import type { ObjectStore } from "../bus/objects.ts";
import { reportFault } from "../bus/report-fault.ts";
import type { Tracing } from "../runtime/tracing.ts";
import { createAcceptGate } from "./accept-gate.ts";
import type { CallHandler } from "./call-handler.ts";
import type { Directory, FunctionEntry } from "./directory.ts";
import { type DurableBody, takeDurableBody } from "./durable-body.ts";
import { callIdHeader } from "./call-view.ts";
import type { ApiRequests } from "./api-requests.ts";
import { sendError, toBuskerError } from "./error-reply.ts";
import { readCallHead } from "./http-head.ts";
import { splitUrl } from "./invocation-url.ts";
import { allowMethods, assertMethod } from "./methods.ts";
import { traceRequest } from "./trace-call.ts";
import { servedBy } from "./version.ts";

/** What accepting durable calls needs. */
export interface AcceptParts {
  readonly directory: Pick<Directory, "find">;
  readonly acceptor: CallAcceptor;
  readonly records: Pick<CallRecords, "read">;
  readonly payloads: Pick<ObjectStore, "put" | "remove">;
  /** What becomes of the calls themselves, queue-workers count. */
  readonly answered: ApiRequests["answered"];
  /** Answers requests about calls, which have the same URLs. */
  readonly calls: CallHandler;
  readonly maxBodyBytes: number;
  /** Absent: nothing is traced. */
  readonly tracing?: Tracing | undefined;
}

const route = "/async-function/:name";

/** Most bytes of bodies that wait for the queue. */
const maxHeldBytes = 256 * 1024 * 1024;

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/** Answers what is under `/async-function/`. */
export type AcceptRoute = (request: IncomingMessage, response: ServerResponse) => void;

/** A function of this name; a call id need not be a name at all. */
const findFunction = (directory: Pick<Directory, "find">, name: string): FunctionEntry | undefined => {
  try {
    return directory.find(name);
  } catch (error) {
    if (error instanceof BuskerError && error.code === "invalid_request") return undefined;
    throw error;
  }
};

/** What was answered; 499: nobody was left to be answered. */
const statusOf = ({ response }: Exchange): number => (response.headersSent ? response.statusCode : 499);

/** 202 with no body: the call is in the queue. */
const sendAccepted = ({ request, response }: Exchange, id: string, startNs: string): void => {
  // A repeat's body is not read by anybody.
  request.resume();
  response.writeHead(202, {
    "X-Call-Id": callIdHeader(id),
    "X-Start-Time": startNs,
    "X-Served-By": servedBy,
    "Content-Length": "0",
  });
  response.end();
};

/** Creates the route that accepts calls: 202 when the stream has one, and only then. */
export const createAcceptRoute = (parts: AcceptParts): AcceptRoute => {
  const { directory, acceptor, records, payloads, answered, calls, maxBodyBytes, tracing } = parts;
  const gate = createAcceptGate(maxHeldBytes);
  const room = { payloads, maxBytes: maxBodyBytes };

  const release = async ({ payload }: DurableBody): Promise<void> => {
    if (payload === undefined) return;
    await payloads
      .remove(payload.name)
      .catch((cause: unknown) => reportFault(`could not remove the body ${payload.name}`, cause));
  };

  /** Gives the id that counts. A body that is in the store already goes when it is certain that nobody will ask for it. */
  const hand = async (call: DurableCall, body: DurableBody, isOwnId: boolean): Promise<string> => {
    try {
      const { id, isDuplicate } = await gate.pass(body.bytes.length, () => acceptor.accept(call, { isOwnId }));
      if (isDuplicate) await release(body);
      return id;
    } catch (error) {
      // After any other error the stream may have the call nevertheless.
      if (error instanceof BuskerError && error.code === "queue_full") await release(body);
      throw error;
    }
  };

  const accept = async (exchange: Exchange, entry: FunctionEntry, path: string, startMs: number): Promise<void> => {
    const startNs = `${startMs}000000`;
    const { request } = exchange;
    const read = readCallHead(request, path, startNs);
    const trace = tracing && traceRequest(tracing, { request, call: read, function: entry.function, route });
    const { callId, ...head } = trace ? trace.call : read;
    let identity: CallIdentity = { id: callId, isKnown: false };
    try {
      assertMethod(exchange.request.method ?? "");
      const options = readCallOptions(head.head.headers, startMs);
      const given = readGivenIds(exchange.request.rawHeaders);
      if (given.key !== undefined || given.id !== undefined)
        identity = await identifyCall(records, entry.function, given);
      if (identity.isKnown) return sendAccepted(exchange, identity.id, startNs);
      const body = await takeDurableBody(exchange, identity.id, room);
      const call: DurableCall = {
        ...head,
        ...options,
        id: callId,
        function: entry.function,
        queuedMs: startMs,
        body: body.bytes,
        ...(body.payload === undefined ? {} : { payload: body.payload }),
      };
      const isOwnId = identity.id !== given.id;
      sendAccepted(exchange, await hand(withIdentity(call, identity), body, isOwnId), startNs);
    } catch (error) {
      allowMethods(exchange.response, error);
      fail(exchange, error, identity.id, startNs);
    } finally {
      trace?.end(statusOf(exchange));
    }
  };

  /** Of a client that has broken off nobody is left to be told; an answer that has begun is cut off. */
  const fail = ({ request, response }: Exchange, error: unknown, id?: string, startNs?: string): void => {
    if (request.destroyed && !request.complete) return;
    if (response.headersSent) response.destroy();
    else sendError(response, error, id, startNs);
  };

  const count = async (exchange: Exchange, entry: FunctionEntry, path: string): Promise<void> => {
    const startMs = Date.now();
    await accept(exchange, entry, path, startMs);
    const method = exchange.request.method ?? "";
    answered({ method, path: route, status: statusOf(exchange) }, (Date.now() - startMs) / 1000);
  };

  const answer = async (exchange: Exchange): Promise<void> => {
    const { name, path } = splitUrl(exchange.request.url ?? "");
    const entry = findFunction(directory, name);
    if (entry) return count(exchange, entry, path);
    if (!calls.takes(exchange.request.method ?? "", path))
      throw new BuskerError("function_not_found", `there is no function ${name}`);
    await calls.answer(exchange, name, path);
  };

  return (request, response) => {
    const exchange = { request, response };
    answer(exchange).catch((error: unknown) => fail(exchange, toBuskerError(error)));
  };
};
