import type { IncomingMessage, ServerResponse } from "node:http";
import { BuskerError } from "../../schemas/errors.ts";
import { maxWholeBytes } from "../../schemas/invocation.ts";
import type { BodySink } from "../bus/body-sender.ts";

const tooLarge = (limit: number): BuskerError =>
  new BuskerError("body_too_large", `the request body is larger than ${limit} bytes, the most this gateway takes`);

const none = new Uint8Array();

/** Has a client send its body that waits to be told so (`Expect: 100-continue`, RFC 9110 §10.1.1). */
export const askForBody = ({ headers, httpVersion }: IncomingMessage, response: ServerResponse): void => {
  // Node answers any other expectation with 417 itself.
  if (headers.expect !== undefined && httpVersion === "1.1") response.writeContinue();
};

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

/** A body that is handed over before it is complete. */
export interface StreamedBody {
  /** What has come so far. */
  readonly first: Uint8Array;
  /** Writes the rest, at the pace at which the sink takes it. */
  readonly writeTo: (sink: BodySink) => void;
}

// A chunked body that is complete by then travels in one message like one of known length.
const wholeWaitMs = 5;

const streamOf = (request: IncomingMessage, first: Uint8Array, askForRest: () => void): StreamedBody => ({
  first,
  writeTo: (sink) => {
    askForRest();
    sink.onDrain = () => request.resume();
    request.on("data", (chunk: Buffer) => {
      // An answer that came before the end of the body does not stop the client: what it sends is read and dropped.
      if (!sink.write(chunk) && !sink.isOver) request.pause();
    });
    request.on("end", () => sink.end());
    request.resume();
  },
});

/** Collects a chunked body for a moment; what is not complete then goes on as a stream. */
const collectBriefly = (
  request: IncomingMessage,
  limit: number,
  done: (body: Uint8Array | StreamedBody) => void,
): void => {
  const chunks: Buffer[] = [];
  let bytes = 0;
  const stop = (): Uint8Array => {
    clearTimeout(timer);
    request.off("data", onData).off("end", onEnd).off("close", stop);
    return Buffer.concat(chunks, bytes);
  };
  const goOn = (): void => {
    request.pause();
    done(streamOf(request, stop(), () => {}));
  };
  const onData = (chunk: Buffer): void => {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > limit) goOn();
  };
  const onEnd = (): void => done(stop());
  const timer = setTimeout(goOn, wholeWaitMs);
  request.on("data", onData).on("end", onEnd).on("close", stop);
};

/**
 * Hands over a request's body: whole where it is small and there in time, else as a stream. `body_too_large` when one
 * that is to be whole is larger than `limit`; nothing when the client breaks off before. A client that waits to be asked
 * for its body is asked when it will be read: for a stream when somebody takes it, and never for one that is too large.
 */
export const takeBody = (
  { request, response }: { readonly request: IncomingMessage; readonly response: ServerResponse },
  limit: number,
  done: (body: Uint8Array | StreamedBody | BuskerError) => void,
): void => {
  const { "content-length": length, "transfer-encoding": encoding } = request.headers;
  if (length === undefined && encoding !== undefined) {
    askForBody(request, response);
    collectBriefly(request, Math.min(limit, maxWholeBytes), done);
  } else if (length !== undefined && Number(length) > maxWholeBytes)
    done(streamOf(request, none, () => askForBody(request, response)));
  else {
    if (length !== undefined && Number(length) <= limit) askForBody(request, response);
    collectBody(request, limit, done);
  }
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
