import type { ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { isFinal } from "../../schemas/call.ts";
import { BuskerError } from "../../schemas/errors.ts";
import type { FoundRecord } from "../bus/call-records.ts";
import type { ObjectStore } from "../bus/objects.ts";
import type { PartsReader } from "../bus/parts-reader.ts";
import { callIdHeader, viewCall } from "./call-view.ts";
import { sendError } from "./error-reply.ts";
import { sendParts, startNsOf, stateHeader } from "./send-parts.ts";
import { responseHeaders } from "./send-result.ts";
import { servedBy } from "./version.ts";

/** Where the bodies of responses are that their records do not hold. */
export interface ResponseBodies {
  readonly payloads: Pick<ObjectStore, "get">;
  readonly parts: Pick<PartsReader, "open">;
}

/** The body of a call's response, whole or as it is read. Rejects with `not_found` when it is not kept any more. */
const openBody = async (
  { record, response: bytes }: FoundRecord,
  { payloads }: ResponseBodies,
): Promise<Uint8Array | ReadableStream<Uint8Array>> => {
  const { place = "none", name } = record.response?.body ?? {};
  if (place === "here") return bytes;
  if (place === "payload" && name !== undefined) return payloads.get(name);
  throw new BuskerError("not_found", `the response of call ${record.id} is not kept any more`);
};

const sendNotYet = (response: ServerResponse, found: FoundRecord): void => {
  const { id, state, nextMs = 0 } = found.record;
  const body = Buffer.from(`${JSON.stringify(viewCall(found))}\n`);
  response.writeHead(202, {
    "Content-Type": "application/json",
    "Content-Length": String(body.length),
    "Retry-After": String(Math.max(1, Math.ceil((nextMs - Date.now()) / 1000))),
    "X-Call-Id": callIdHeader(id),
    "X-Served-By": servedBy,
    [stateHeader]: state,
  });
  response.end(body);
};

const sendKeptResponse = async (
  response: ServerResponse,
  found: FoundRecord,
  body: Uint8Array | ReadableStream<Uint8Array>,
): Promise<void> => {
  const { record } = found;
  const head = { status: record.response?.status ?? 200, headers: record.response?.headers ?? [] };
  const hasBody = response.req.method !== "HEAD" && head.status !== 204 && head.status !== 304;
  const headers = responseHeaders({
    call: { callId: callIdHeader(record.id), contentType: undefined },
    startNs: startNsOf(record),
    reply: { head, error: undefined },
    keepsLength: !hasBody,
    hasBody,
  });
  headers.push(stateHeader, record.state);
  if (hasBody) headers.push("Content-Length", String(record.response?.body.bytes ?? 0));
  response.writeHead(head.status, headers);
  if (!hasBody) response.end();
  else if (body instanceof Uint8Array) response.end(body);
  else await pipeline(Readable.fromWeb(body as Parameters<typeof Readable.fromWeb>[0]), response);
};

/**
 * Answers with what a call's function has answered: status, headers and body; also while that is being written. While
 * there is nothing yet, 202 with when to ask again; of a call that ended without an answer, the error that it ended with.
 * Rejects with `not_found` or `stream_gone` when the body is not kept any more.
 */
export const sendCallResponse = async (
  response: ServerResponse,
  found: FoundRecord,
  bodies: ResponseBodies,
): Promise<void> => {
  const { record } = found;
  if (record.response?.body.place === "parts") return sendParts(response, record, await bodies.parts.open(record));
  if (record.response) return sendKeptResponse(response, found, await openBody(found, bodies));
  if (!isFinal(record.state)) return sendNotYet(response, found);
  const { code, message } = record.error ?? { code: "internal" as const, message: "it ended without an answer" };
  response.setHeader(stateHeader, record.state);
  sendError(
    response,
    new BuskerError(code, `call ${record.id} is ${record.state}: ${message}`),
    callIdHeader(record.id),
  );
};
