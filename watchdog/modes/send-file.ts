import { type FileHandle, open } from "node:fs/promises";
import { BuskerError } from "../../schemas/errors.ts";
import { maxWholeBytes } from "../../schemas/invocation.ts";
import { tooLargeAnswer } from "../answers.ts";
import type { Answer, Call } from "../mode.ts";
import type { PieceSource } from "../pump.ts";
import { type ByteRange, parseRange } from "./byte-range.ts";
import { contentTypeOf } from "./content-types.ts";

/** An answer made of a file; with `pieces`, its body is still in the file and has to be cancelled or read to its end. */
export interface FileAnswer {
  readonly answer: Answer;
  readonly pieces?: PieceSource;
}

/** What tells one state of a file from another. */
interface FileState {
  readonly size: number;
  readonly modified: string;
  readonly modifiedMs: number;
  readonly tag: string;
}

/** How much of a file is in memory at a time: few reads, and little for each of many callers. */
const pieceBytes = 256 * 1024;

const headerOf = (call: Call, name: string): string | undefined => {
  const at = call.headers.findIndex((text, index) => index % 2 === 0 && text.toLowerCase() === name);
  return at < 0 ? undefined : call.headers[at + 1];
};

const readState = async (handle: FileHandle): Promise<FileState> => {
  const { size, mtimeMs } = await handle.stat();
  // HTTP dates have whole seconds.
  const modifiedMs = Math.floor(mtimeMs / 1000) * 1000;
  const tag = `"${Math.round(mtimeMs * 1000).toString(16)}-${size.toString(16)}"`;
  return { size, modified: new Date(modifiedMs).toUTCString(), modifiedMs, tag };
};

/** Whether the client has this state; its tag says more than its date (RFC 9110 section 13.2.2). */
const isUnchanged = (call: Call, { tag, modifiedMs }: FileState): boolean => {
  const tags = headerOf(call, "if-none-match");
  if (tags === undefined) return Date.parse(headerOf(call, "if-modified-since") ?? "") >= modifiedMs;
  return tags.split(",").some((text) => ["*", tag].includes(text.trim().replace(/^W\//, "")));
};

/** The part that is asked for, if what the client has of the file is of this state. */
const rangeOf = (call: Call, { size, tag, modified }: FileState): ReturnType<typeof parseRange> => {
  const range = call.method === "GET" ? headerOf(call, "range") : undefined;
  const condition = headerOf(call, "if-range");
  if (range === undefined || (condition !== undefined && condition !== tag && condition !== modified)) return undefined;
  return parseRange(range, size);
};

const readExactly = async (handle: FileHandle, { start, length }: ByteRange): Promise<Buffer> => {
  const bytes = Buffer.allocUnsafeSlow(length);
  for (let at = 0; at < length;) {
    const { bytesRead } = await handle.read(bytes, at, length - at, start + at);
    if (bytesRead === 0)
      throw new BuskerError(
        "function_failed",
        `the file ended ${length - at} bytes early: it was changed while it was sent`,
      );
    at += bytesRead;
  }
  return bytes;
};

/** Reads a part of a file piece by piece, and closes it at its end, when reading fails, and when it is cancelled. */
const readPieces = (handle: FileHandle, { start, length }: ByteRange): PieceSource => {
  let at = start;
  let isOpen = true;
  let reading: Promise<unknown> = Promise.resolve();
  const close = (): void => {
    if (!isOpen) return;
    isOpen = false;
    // Not under a read that is under way.
    void reading.catch(() => undefined).then(() => handle.close());
  };
  const readNext = async (): Promise<IteratorResult<Uint8Array, undefined>> => {
    const left = start + length - at;
    if (!isOpen || left === 0) {
      close();
      return { done: true, value: undefined };
    }
    const part = { start: at, length: Math.min(left, pieceBytes) };
    at += part.length;
    const read = readExactly(handle, part);
    reading = read;
    try {
      return { done: false, value: await read };
    } catch (error) {
      close();
      throw error;
    }
  };
  return { next: readNext, cancel: close };
};

const answerWith = async (call: Call, file: string, handle: FileHandle, maxBytes: number): Promise<FileAnswer> => {
  const state = await readState(handle);
  const stateHeaders = ["Last-Modified", state.modified, "ETag", state.tag, "Accept-Ranges", "bytes"];
  if (isUnchanged(call, state)) return { answer: { status: 304, headers: stateHeaders, body: "" } };
  const { size } = state;
  const range = rangeOf(call, state);
  if (range === "unsatisfiable")
    return { answer: { status: 416, headers: [...stateHeaders, "Content-Range", `bytes */${size}`], body: "" } };
  const part = range ?? { start: 0, length: size };
  const headers = ["Content-Type", contentTypeOf(file), ...stateHeaders];
  if (range) headers.push("Content-Range", `bytes ${part.start}-${part.start + part.length - 1}/${size}`);
  const lengthHeaders = [...headers, "Content-Length", String(part.length)];
  if (call.method === "HEAD") return { answer: { status: 200, headers: lengthHeaders, body: "" } };
  const status = range ? 206 : 200;
  if (part.length > maxWholeBytes && call.canStream)
    return { answer: { status, headers: lengthHeaders, body: "" }, pieces: readPieces(handle, part) };
  if (part.length > maxBytes) return { answer: tooLargeAnswer(maxBytes) };
  return { answer: { status, headers, body: await readExactly(handle, part) } };
};

/** The answer to a request for a file: all of it, one part, or nothing new. */
export const readFileAnswer = async (call: Call, file: string, maxBytes: number): Promise<FileAnswer> => {
  const handle = await open(file, "r");
  let pieces: PieceSource | undefined;
  try {
    const result = await answerWith(call, file, handle, maxBytes);
    pieces = result.pieces;
    return result;
  } finally {
    if (!pieces) await handle.close();
  }
};
