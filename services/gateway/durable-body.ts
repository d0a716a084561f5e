import type { IncomingMessage, ServerResponse } from "node:http";
import { randomUUID } from "node:crypto";
import { type KeptBody, maxBodyHereBytes } from "../../schemas/call.ts";
import { BuskerError } from "../../schemas/errors.ts";
import { callToken } from "../../schemas/subjects.ts";
import type { ObjectStore } from "../bus/objects.ts";
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

/** The name of a body in store `payloads`: the call's, which it can be found by, and its own, so that a repeat has another. */
export const payloadName = (callId: string): string => `${callToken(callId)}.${randomUUID()}`;

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

/** The whole body as a stream that is read when somebody takes it; errors with `body_too_large` above the limit. */
const streamOf = (
  first: Buffer,
  rest: AsyncIterator<Buffer>,
  limit: number,
): { readonly content: ReadableStream<Uint8Array>; readonly length: () => number } => {
  let length = 0;
  let held: Buffer | undefined = first;
  const content = new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        const next = held === undefined ? await rest.next() : { done: false, value: held };
        held = undefined;
        if (next.done) return controller.close();
        const chunk = next.value as Buffer;
        length += chunk.length;
        if (length > limit) throw tooLarge(limit);
        controller.enqueue(chunk);
      },
    },
    { highWaterMark: 0 },
  );
  return { content, length: () => length };
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
  const name = payloadName(callId);
  const body = streamOf(first.bytes, rest, maxBytes);
  await payloads.put(name, body.content);
  return { bytes: none, payload: { place: "payload", name, bytes: body.length() } };
};
