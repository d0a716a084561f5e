import { randomUUID } from "node:crypto";
import type { Msg, MsgHdrs } from "nats";
import { BuskerError } from "../../schemas/errors.ts";
import { type HeaderBearer, HeaderBlock, headerLine, headerPairs, headerText, headerValue } from "./headers.ts";

/*
 * The NATS protocol binding of CloudEvents 1.0 (cloudevents/spec, nats-protocol-binding.md v1.0.3). Binary mode: each
 * attribute is a header `ce-<name>`, its value percent-encoded; the data is the payload. Structured mode, told by a
 * `Content-Type` that starts with `application/cloudevents`: the payload is the whole event as JSON.
 */

const prefix = "ce-";
const structuredType = "application/cloudevents";

/** An event as it travels: attributes as text, data as bytes. */
export interface WireEvent {
  /** Attribute names in lower case without prefix: `id`, `source`, `type`, `specversion`, `datacontenttype`, extensions. */
  readonly attributes: Readonly<Record<string, string>>;
  readonly data: Uint8Array;
}

/** Headers and payload of a NATS message. */
export interface WireMessage {
  readonly headers: MsgHdrs;
  readonly payload: Uint8Array;
}

const mustEscape = /[^\x21\x23\x24\x26-\x7e]/gu;

/**
 * Percent-encodes an attribute's value as the HTTP binding (3.1.3.2) asks: space, double quote, percent and everything
 * outside U+0021 to U+007E become the `%XX` of their UTF-8 bytes. Throws `invalid_request` on a lone surrogate.
 */
export const encodeAttribute = (value: string): string => {
  if (!value.isWellFormed())
    throw new BuskerError("invalid_request", "a CloudEvents attribute must be well-formed Unicode; got a lone surrogate");
  return value.replace(mustEscape, (character) =>
    [...Buffer.from(character, "utf8")].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join(""),
  );
};

/** Reverses `encodeAttribute`; also takes what senders encoded without need. Bytes that are not UTF-8 become U+FFFD. */
export const decodeAttribute = (value: string): string =>
  value.replaceAll(/(?:%[0-9A-Fa-f]{2})+/g, (run) => Buffer.from(run.replaceAll("%", ""), "hex").toString("utf8"));

/** Writes an event in binary mode. */
export const toBinaryMessage = (event: WireEvent): WireMessage => {
  let lines = "";
  for (const [name, value] of Object.entries(event.attributes)) lines += headerLine(prefix + name, encodeAttribute(value));
  return { headers: HeaderBlock.of(lines), payload: event.data };
};

const isJsonType = (type: string | undefined): boolean =>
  type === undefined || /^(application|text)\/json\b|\+json\b/i.test(type);

const isTextType = (type: string | undefined): boolean => type !== undefined && /^text\//i.test(type);

/** The `data` or `data_base64` member of an event's JSON form. */
export const structuredData = (event: WireEvent): Record<string, unknown> => {
  if (event.data.length === 0) return {};
  const type = event.attributes["datacontenttype"];
  const bytes = Buffer.from(event.data);
  if (isJsonType(type)) {
    try {
      return { data: JSON.parse(bytes.toString("utf8")) as unknown };
    } catch {
      // Said to be JSON and is not: the bytes still travel, unchanged, as base64.
    }
  }
  return isTextType(type) ? { data: bytes.toString("utf8") } : { data_base64: bytes.toString("base64") };
};

/** Writes an event in structured mode, format JSON. */
export const toStructuredMessage = (event: WireEvent): WireMessage => ({
  headers: HeaderBlock.of(headerLine("Content-Type", `${structuredType}+json; charset=utf-8`)),
  payload: Buffer.from(JSON.stringify({ ...event.attributes, ...structuredData(event) })),
});

/** Reads the JSON form of an event. Throws `invalid_request` when it is none. */
export const fromStructured = (payload: Uint8Array): WireEvent => {
  let parsed: unknown;
  try {
    parsed = JSON.parse(Buffer.from(payload).toString("utf8"));
  } catch (cause) {
    throw new BuskerError("invalid_request", "a structured CloudEvent must be JSON", { cause });
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed))
    throw new BuskerError("invalid_request", "a structured CloudEvent must be a JSON object");
  const attributes: Record<string, string> = {};
  let data: Uint8Array = new Uint8Array();
  for (const [name, value] of Object.entries(parsed)) {
    if (value === null || value === undefined) continue;
    if (name === "data_base64") data = Buffer.from(String(value), "base64");
    else if (name === "data") data = Buffer.from(typeof value === "string" && !isJsonData(parsed) ? value : JSON.stringify(value));
    else attributes[name] = typeof value === "string" ? value : JSON.stringify(value);
  }
  return { attributes, data };
};

const isJsonData = (event: object): boolean => {
  const type: unknown = "datacontenttype" in event ? event.datacontenttype : undefined;
  return isJsonType(typeof type === "string" ? type : undefined);
};

/** Tells whether a header block announces a structured event. */
export const isStructured = (headers: string): boolean =>
  (headerValue(headers, "Content-Type") ?? headerValue(headers, "content-type"))?.startsWith(structuredType) ?? false;

const fromBinary = (headers: string, payload: Uint8Array): WireEvent => {
  const attributes: Record<string, string> = {};
  const pairs = headerPairs(headers);
  for (let at = 0; at < pairs.length; at += 2) {
    const name = pairs[at]?.toLowerCase() ?? "";
    if (name.startsWith(prefix)) attributes[name.slice(prefix.length)] = decodeAttribute(pairs[at + 1] ?? "");
  }
  return { attributes, data: payload };
};

/**
 * Reads a message in either mode. A message without any attribute gives an event without attributes: use `complete`.
 * Throws `invalid_request` when it says it is structured and is not.
 */
export const fromMessage = (message: Pick<Msg, "data"> & HeaderBearer): WireEvent => {
  const headers = headerText(message);
  return isStructured(headers) ? fromStructured(message.data) : fromBinary(headers, message.data);
};

/** Fills in what CloudEvents requires and the sender left out, because anyone may publish. */
export const complete = (event: WireEvent, defaults: { readonly source: string; readonly type: string }): WireEvent => ({
  attributes: { specversion: "1.0", id: randomUUID(), ...defaults, ...event.attributes },
  data: event.data,
});
