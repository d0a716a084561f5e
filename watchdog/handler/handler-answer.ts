import { BuskerError } from "../../schemas/errors.ts";
import { tokenPattern, valuePattern } from "../upstream/http-syntax.ts";
import type { HandlerHeaders } from "./handler-context.ts";
import { isStreamedBody, type StreamedBody } from "./piece-source.ts";

/** A handler's answer, ready to be sent. */
export interface HandlerAnswer {
  readonly status: number;
  readonly headers: readonly string[];
  readonly body: Uint8Array | string | StreamedBody;
  /** Whether the handler has said what type its body has. */
  readonly hasType: boolean;
}

/** An answer that a handler has given, before it is written out. */
interface Response {
  readonly status: number;
  readonly headers: HandlerHeaders;
  readonly body: unknown;
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;

/**
 * Whether an object is a response and not a result to send as JSON: `statusCode` as a number, or `status` as a number
 * together with a body or headers. `{ status: "ok" }` and `{ status: 1 }` are results.
 */
const isResponse = (value: Record<string, unknown>): boolean =>
  typeof value["statusCode"] === "number" ||
  (typeof value["status"] === "number" && ("body" in value || "headers" in value));

const toResponse = (value: unknown, status: number, headers: HandlerHeaders): Response => {
  // A stream first: an answer of `node:http` is one, and has a status of its own.
  const isBody = !isRecord(value) || value instanceof Uint8Array || Array.isArray(value) || isStreamedBody(value);
  if (isBody || !isResponse(value)) return { status, headers, body: value };
  const own = isRecord(value["headers"]) ? (value["headers"] as HandlerHeaders) : {};
  return {
    status: Number(value["statusCode"] ?? value["status"]),
    headers: { ...headers, ...own },
    body: value["body"],
  };
};

const fault = (what: string): BuskerError => new BuskerError("function_failed", `the handler gave ${what}`);

const writeHeaders = (values: HandlerHeaders): { headers: string[]; hasType: boolean } => {
  const headers: string[] = [];
  let hasType = false;
  for (const [name, given] of Object.entries(values)) {
    if (!tokenPattern.test(name)) throw fault(`the header name ${JSON.stringify(name)}, which HTTP does not allow`);
    for (const value of Array.isArray(given) ? given : [given]) {
      const text = String(value);
      if (!valuePattern.test(text))
        throw fault(`a value of the header ${name} that HTTP does not allow: ${JSON.stringify(text.slice(0, 100))}`);
      headers.push(name, text);
    }
    hasType ||= name.toLowerCase() === "content-type";
  }
  return { headers, hasType };
};

const writeBody = (body: unknown): { body: HandlerAnswer["body"]; type: string } => {
  if (body === undefined || body === null) return { body: "", type: "" };
  if (typeof body === "string") return { body, type: "text/plain; charset=utf-8" };
  if (body instanceof Uint8Array) return { body, type: "application/octet-stream" };
  if (isStreamedBody(body)) return { body, type: "" };
  if (typeof body === "object" || typeof body === "boolean" || typeof body === "number")
    return { body: JSON.stringify(body) ?? "", type: "application/json" };
  if (typeof body === "bigint") return { body: body.toString(), type: "text/plain; charset=utf-8" };
  throw fault(`a ${typeof body} as its answer, which cannot be sent`);
};

/**
 * The answer for what a handler returned: a string, bytes, a stream, an object as JSON, or `{ statusCode, headers, body }`.
 * Throws a BuskerError for what cannot be sent, and whatever `JSON.stringify` throws.
 */
export const answerOfValue = (value: unknown, status: number, defaults: HandlerHeaders): HandlerAnswer => {
  const response = toResponse(value, status, defaults);
  if (!Number.isInteger(response.status) || response.status < 200 || response.status > 599)
    throw fault(`the status ${response.status}, which is not from 200 to 599`);
  const { headers, hasType } = writeHeaders(response.headers);
  const { body, type } = writeBody(response.body);
  if (!hasType && type !== "") headers.push("Content-Type", type);
  return { status: response.status, headers, body, hasType };
};
