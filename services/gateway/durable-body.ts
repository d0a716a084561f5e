import type { IncomingMessage, ServerResponse } from "node:http";
import { type KeptBody, maxBodyHereBytes } from "../../schemas/call.ts";
import { BuskerError } from "../../schemas/errors.ts";
import type { ObjectStore } from "../bus/objects.ts";
import { putPayload } from "../bus/payloads.ts";
import { askForBody } from "./read-body.ts";

/** The body of a durable call, taken whole: in hand, or in the store. */
export interface DurableBody {
  /** Empty where there is a `payload`. */
  readonly bytes: Uint8Array;
  readonly payload?: KeptBody & { readonly name: string };
}

/** Where large bodies go, and how large they may be. */
export interface BodyRoom {
  readonly payloads: Pick<ObjectStore, "put">;
  readonly maxBytes: number;
}

const none = new Uint8Array();

const tooLarge = (limit: number): BuskerError =>
  new BuskerError(
    "body_too_large",
    `the request body is larger than ${limit} bytes, the most this gateway takes for later`,
  );

/** What has come by the end of the body, or as soon as it is more than `limit`. */
const readUpTo = async (
  rest: AsyncIterator<Buffer>,
  limit: number,
): Promise<{ readonly bytes: Buffer; readonly isAll: boolean }> => {
  const chunks: Buffer[] = [];
  let length = 0;
  for (let next = await rest.next(); !next.done; next = await rest.next()) {
    chunks.push(next.value);
    length += next.value.length;
    if (length > limit) return { bytes: Buffer.concat(chunks), isAll: false };
  }
  return { bytes: chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks), isAll: true };
};

/** The whole body, what is in hand first. */
const wholeOf = async function* (first: Buffer, rest: AsyncIterator<Buffer>): AsyncGenerator<Uint8Array, void> {
  yield first;
  for (let next = await rest.next(); !next.done; next = await rest.next()) yield next.value;
};

/**
 * Takes the body of a durable call: up to `maxBodyHereBytes` in hand, more into the store as it comes. Rejects with
 * `body_too_large`, at once where the length is known, with what the store rejects with, and with the connection's fault
 * when the client breaks off; whatever it rejects with, nothing is left in the store. A client that waits to be asked
 * for its body is asked for one that may be taken.
 */
export const takeDurableBody = async (
  { request, response }: { readonly request: IncomingMessage; readonly response: ServerResponse },
  callId: string,
  { payloads, maxBytes }: BodyRoom,
): Promise<DurableBody> => {
  const { "content-length": length, "transfer-encoding": encoding } = request.headers;
  if (length === undefined && encoding === undefined) return { bytes: none };
  if (Number(length) > maxBytes) throw tooLarge(maxBytes);
  askForBody(request, response);
  const rest = (request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  const first = await readUpTo(rest, Math.min(maxBodyHereBytes, maxBytes));
  if (first.isAll) return { bytes: first.bytes };
  return { bytes: none, payload: await putPayload(payloads, callId, wholeOf(first.bytes, rest), maxBytes) };
};
