import { Readable } from "node:stream";
import { BuskerError } from "../../schemas/errors.ts";
import { messageOf } from "../answers.ts";
import type { PieceSource } from "../pump.ts";

/** What a handler may give as a body that comes piece by piece. */
export type StreamedBody = Readable | ReadableStream<unknown> | AsyncIterable<unknown>;

const isWebStream = (value: object): value is ReadableStream<unknown> =>
  "getReader" in value && typeof value.getReader === "function";

const isAsyncIterable = (value: object): value is AsyncIterable<unknown> =>
  Symbol.asyncIterator in value && typeof value[Symbol.asyncIterator] === "function";

/** Whether a value is a body that comes piece by piece. */
export const isStreamedBody = (value: unknown): value is StreamedBody =>
  typeof value === "object" && value !== null && (isWebStream(value) || isAsyncIterable(value));

const toBytes = (piece: unknown): Uint8Array => {
  if (typeof piece === "string") return Buffer.from(piece);
  if (piece instanceof Uint8Array) return piece;
  if (ArrayBuffer.isView(piece)) return new Uint8Array(piece.buffer, piece.byteOffset, piece.byteLength);
  if (piece instanceof ArrayBuffer) return new Uint8Array(piece);
  const kind = piece === null ? "null" : typeof piece;
  throw new BuskerError("function_failed", `the handler's stream gave a piece that is neither text nor bytes: ${kind}`);
};

/** The pieces of a handler's body. */
export interface HandlerPieces extends PieceSource {
  /** Whether the first of them was text. */
  readonly isText: () => boolean;
}

interface RawSource {
  readonly next: () => Promise<IteratorResult<unknown, unknown>>;
  readonly cancel: () => Promise<unknown> | undefined;
}

/** Its reader can be cancelled in the middle of a read; the stream's own iterator would wait for the read. */
const readWebStream = (stream: ReadableStream<unknown>): RawSource => {
  const reader = stream.getReader();
  return {
    next: async () => {
      const { done, value } = await reader.read();
      return done ? { done, value } : { done, value };
    },
    cancel: () => reader.cancel(),
  };
};

const readNodeStream = (stream: Readable): RawSource => {
  // The iterator tells what goes wrong; what comes after it has been let go must not end the process.
  stream.on("error", () => undefined);
  const iterator = stream[Symbol.asyncIterator]() as AsyncIterator<unknown>;
  return {
    next: () => iterator.next(),
    cancel: () => {
      stream.destroy();
      return undefined;
    },
  };
};

const readIterable = (iterable: AsyncIterable<unknown>): RawSource => {
  const iterator = iterable[Symbol.asyncIterator]();
  return {
    next: async () => {
      const result = await iterator.next();
      // Who writes an iterable of his own may fill the same memory again.
      return !result.done && result.value instanceof Uint8Array
        ? { done: false, value: Buffer.from(result.value) }
        : result;
    },
    cancel: async () => iterator.return?.(),
  };
};

const openRaw = (body: StreamedBody): RawSource => {
  if (body instanceof Readable) return readNodeStream(body);
  return isWebStream(body) ? readWebStream(body) : readIterable(body);
};

/**
 * Reads a handler's body: text is UTF-8. `onLateError` is told what goes wrong while it is let go. Throws what the body
 * throws when it cannot be read at all: a web stream that has a reader already.
 */
export const openPieces = (body: StreamedBody, onLateError: (message: string) => void): HandlerPieces => {
  const { next, cancel } = openRaw(body);
  let isText: boolean | undefined;
  let isCancelled = false;
  return {
    isText: () => isText === true,
    next: async () => {
      // An iterable that cannot be ended must not be read for ever.
      if (isCancelled) return { done: true, value: undefined };
      const result = await next();
      if (result.done) return result;
      isText ??= typeof result.value === "string";
      return { done: false, value: toBytes(result.value) };
    },
    cancel: () => {
      isCancelled = true;
      cancel()?.catch((error: unknown) => onLateError(messageOf(error)));
    },
  };
};
