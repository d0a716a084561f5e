import type { IncomingMessage } from "node:http";
import { BuskerError } from "../../schemas/errors.ts";

const tooLarge = (limit: number): BuskerError =>
  new BuskerError("body_too_large", `the request body is larger than ${limit} bytes, the most this gateway takes`);

const none = new Uint8Array();

/** Hands over a request's whole body, or `body_too_large` as soon as it is known to be; nothing when the client breaks off. */
export const collectBody = (
  request: IncomingMessage,
  limit: number,
  done: (body: Uint8Array | BuskerError) => void,
): void => {
  const { "content-length": length, "transfer-encoding": encoding } = request.headers;
  if (length === undefined && encoding === undefined) return done(none);
  if (Number(length) > limit) return done(tooLarge(limit));
  const chunks: Buffer[] = [];
  let bytes = 0;
  request.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes <= limit) chunks.push(chunk);
    else if (bytes - chunk.length <= limit) done(tooLarge(limit));
  });
  request.on("end", () => {
    if (bytes <= limit) done(chunks.length === 1 ? (chunks[0] ?? none) : Buffer.concat(chunks, bytes));
  });
};

/** A request's body as JSON. Throws `body_too_large`, or `invalid_request` saying where it is not JSON. */
export const readJson = async (request: IncomingMessage, limit: number): Promise<unknown> => {
  const body = await new Promise<Uint8Array | BuskerError>((resolve) => collectBody(request, limit, resolve));
  if (body instanceof BuskerError) throw body;
  try {
    return JSON.parse(Buffer.from(body).toString("utf8"));
  } catch (cause) {
    throw new BuskerError(
      "invalid_request",
      `the request body must be JSON: ${cause instanceof Error ? cause.message : ""}`,
      { cause },
    );
  }
};
