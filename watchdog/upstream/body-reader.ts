import { BuskerError } from "../../schemas/errors.ts";
import { maxWholeBytes } from "../../schemas/invocation.ts";
import { malformed, type BodyFraming } from "./response-head.ts";

/** Puts a body together from what the socket gives. */
export interface BodyReader {
  /** Takes bytes from `from` on; gives the index after the body's last byte, or -1 when more is to come. */
  feed(chunk: Buffer, from: number): number;
  /** The other side has closed. Throws `function_unreachable` when the body is cut short. */
  close(): void;
  /** What has come and was not taken before. */
  take(): Buffer;
}

const tooLarge = (maxBytes: number): BuskerError =>
  new BuskerError("response_too_large", `the function's response is larger than the limit of ${maxBytes} bytes`);

const cutShort = (got: string): BuskerError =>
  new BuskerError("function_unreachable", `the function's response was cut short: ${got}`);

/** Holds a whole body in memory made for it, which no chunk is copied into twice. */
const readLength = (bytes: number): BodyReader => {
  const body = Buffer.allocUnsafe(bytes);
  let got = 0;
  let taken = 0;
  return {
    feed(chunk, from) {
      const end = Math.min(chunk.length, from + bytes - got);
      got += chunk.copy(body, got, from, end);
      return got === bytes ? end : -1;
    },
    close() {
      if (got < bytes) throw cutShort(`${got} of ${bytes} bytes came`);
    },
    take() {
      const piece = body.subarray(taken, got);
      taken = got;
      return piece;
    },
  };
};

/** Gives what may be kept of a chunk: itself, when its memory will not be used again, else a copy. */
export type KeepChunk = (chunk: Buffer) => Buffer;

/** What has come, until it is taken. */
const createPieces = (keep: KeepChunk) => {
  let pieces: Buffer[] = [];
  return {
    add: (chunk: Buffer): void => void pieces.push(keep(chunk)),
    take: (): Buffer => {
      const [first] = pieces;
      const all = pieces.length === 1 && first ? first : Buffer.concat(pieces);
      pieces = [];
      return all;
    },
  };
};

/** For a body that is taken in pieces. */
const countLength = (bytes: number, keep: KeepChunk): BodyReader => {
  const pieces = createPieces(keep);
  let got = 0;
  return {
    feed(chunk, from) {
      const end = Math.min(chunk.length, from + bytes - got);
      got += end - from;
      if (end > from) pieces.add(chunk.subarray(from, end));
      return got === bytes ? end : -1;
    },
    close() {
      if (got < bytes) throw cutShort(`${got} of ${bytes} bytes came`);
    },
    take: pieces.take,
  };
};

const readUntilClose = (maxBytes: number, keep: KeepChunk): BodyReader => {
  const pieces = createPieces(keep);
  let got = 0;
  return {
    feed(chunk, from) {
      got += chunk.length - from;
      if (got > maxBytes) throw tooLarge(maxBytes);
      if (from < chunk.length) pieces.add(chunk.subarray(from));
      return -1;
    },
    close: () => undefined,
    take: pieces.take,
  };
};

/** Longest size line or trailer line of a chunked body, and of all its trailers, in bytes. */
const maxLineBytes = 16 * 1024;

/** What a chunked body has next. */
type Expected = "size" | "data" | "data end" | "trailer" | "nothing";

const parseSize = (line: string): number => {
  const digits = /^([0-9a-fA-F]{1,12})[ \t]*(?:;.*)?$/.exec(line)?.[1];
  if (digits === undefined) throw malformed(`chunk size ${JSON.stringify(line.slice(0, 40))}`);
  return Number.parseInt(digits, 16);
};

const readChunked = (maxBytes: number, keep: KeepChunk): BodyReader => {
  const pieces = createPieces(keep);
  let got = 0;
  let left = 0;
  let held = "";
  let lineBytes = 0;
  let expected: Expected = "size";

  const onLine = (line: string): void => {
    if (expected === "size") {
      left = parseSize(line);
      if (got + left > maxBytes) throw tooLarge(maxBytes);
      expected = left === 0 ? "trailer" : "data";
      lineBytes = 0;
    } else if (expected === "data end") {
      if (line !== "") throw malformed("a chunk longer than its size");
      expected = "size";
    } else if (line === "") expected = "nothing";
  };

  const takeLine = (chunk: Buffer, from: number): number => {
    const at = chunk.indexOf(10, from);
    const end = at < 0 ? chunk.length : at + 1;
    lineBytes += end - from;
    if (lineBytes > maxLineBytes) throw malformed("a line of the chunked body is too long");
    held += chunk.toString("latin1", from, end);
    if (at < 0) return end;
    if (!held.endsWith("\r\n")) throw malformed("a line of the chunked body does not end in CR LF");
    const line = held.slice(0, -2);
    held = "";
    onLine(line);
    return end;
  };

  const takeData = (chunk: Buffer, from: number): number => {
    const end = Math.min(chunk.length, from + left);
    pieces.add(chunk.subarray(from, end));
    got += end - from;
    left -= end - from;
    if (left === 0) expected = "data end";
    return end;
  };

  return {
    feed(chunk, from) {
      let at = from;
      while (at < chunk.length && expected !== "nothing")
        at = expected === "data" ? takeData(chunk, at) : takeLine(chunk, at);
      return expected === "nothing" ? at : -1;
    },
    close() {
      throw cutShort(`${got} bytes came without the last chunk`);
    },
    take: pieces.take,
  };
};

/**
 * The reader for one body. Throws `response_too_large` as soon as it is known to be larger than `maxBytes`, which is
 * infinite for a body that is taken in pieces.
 */
export const createBodyReader = (framing: BodyFraming, maxBytes: number, keep: KeepChunk): BodyReader => {
  if (framing.kind === "chunked") return readChunked(maxBytes, keep);
  if (framing.kind === "until close") return readUntilClose(maxBytes, keep);
  if (framing.bytes > maxBytes) throw tooLarge(maxBytes);
  return framing.bytes > maxWholeBytes && maxBytes === Number.POSITIVE_INFINITY
    ? countLength(framing.bytes, keep)
    : readLength(framing.bytes);
};
