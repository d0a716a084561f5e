import type { Readable } from "node:stream";
import type { Call } from "../mode.ts";
import { openBodyStream } from "./body-stream.ts";

/** What a handler is given about a call, in the shape of OpenFaaS' Node template. */
export interface HandlerEvent {
  /** A stream where the function asked for one. */
  readonly body: string | Buffer | Readable;
  /** By lower-case name; a repeated header's values are joined. */
  readonly headers: Readonly<Record<string, string>>;
  readonly method: string;
  /** The path without its query. */
  readonly path: string;
  /** A repeated parameter has all its values. */
  readonly query: Readonly<Record<string, string | readonly string[]>>;
}

const readHeaders = (pairs: readonly string[]): Record<string, string> => {
  const headers: Record<string, string> = {};
  for (let index = 0; index + 1 < pairs.length; index += 2) {
    const name = (pairs[index] ?? "").toLowerCase();
    const value = pairs[index + 1] ?? "";
    const before = Object.hasOwn(headers, name) ? headers[name] : undefined;
    headers[name] = before === undefined ? value : `${before}${name === "cookie" ? "; " : ", "}${value}`;
  }
  return headers;
};

const readQuery = (text: string): Record<string, string | string[]> => {
  const query: Record<string, string | string[]> = {};
  for (const [name, value] of new URLSearchParams(text)) {
    const before = Object.hasOwn(query, name) ? query[name] : undefined;
    query[name] = before === undefined ? value : [...(Array.isArray(before) ? before : [before]), value];
  }
  return query;
};

/** How a handler is given its body. */
export type BodyKind = "text" | "bytes" | "stream";

const readBody = (call: Call, kind: BodyKind): HandlerEvent["body"] => {
  if (kind === "stream") return openBodyStream(call.body, call.rest);
  const { buffer, byteOffset, byteLength } = call.body;
  const body = Buffer.from(buffer, byteOffset, byteLength);
  return kind === "bytes" ? body : body.toString("utf8");
};

/** The event of a call. */
export const createHandlerEvent = (call: Call, kind: BodyKind): HandlerEvent => {
  const mark = call.path.indexOf("?");
  return {
    body: readBody(call, kind),
    headers: readHeaders(call.headers),
    method: call.method,
    path: mark < 0 ? call.path : call.path.slice(0, mark),
    query: mark < 0 ? {} : readQuery(call.path.slice(mark + 1)),
  };
};
