import { randomUUID } from "node:crypto";
import type { Msg, MsgHdrs } from "nats";
import { BuskerError } from "../../schemas/errors.ts";
import { decodeAttribute, encodeAttribute, isAttributeName } from "./cloud-events-attributes.ts";
import { fromStructured, structuredData, type WireEvent } from "./cloud-events-json.ts";
import { type HeaderBearer, HeaderBlock, headerLine, headerPairs, headerText } from "./headers.ts";

/*
 * The NATS protocol binding of CloudEvents 1.0 (cloudevents/spec, nats-protocol-binding.md v1.0.3). Binary mode: each
 * attribute is a header `ce-<name>`, its value percent-encoded; the data is the payload. Structured mode, told by a
 * `Content-Type` that starts with `application/cloudevents`: the payload is the whole event as JSON. There is no batch.
 */

export { decodeAttribute, encodeAttribute } from "./cloud-events-attributes.ts";
export { fromStructured, structuredData, type WireEvent } from "./cloud-events-json.ts";

const prefix = "ce-";
const structuredType = "application/cloudevents";

/** Headers and payload of a NATS message. */
export interface WireMessage {
  readonly headers: MsgHdrs;
  readonly payload: Uint8Array;
}

/** Writes an event in binary mode. Throws `invalid_request` on an attribute's name that CloudEvents does not allow. */
export const toBinaryMessage = (event: WireEvent): WireMessage => {
  let lines = "";
  for (const [name, value] of Object.entries(event.attributes)) {
    // A name may come from anybody's event, and one with a line break in it would be another header.
    if (!isAttributeName(name))
      throw new BuskerError(
        "invalid_request",
        `a CloudEvents attribute's name must be a-z and 0-9; got ${JSON.stringify(name.slice(0, 80))}`,
      );
    lines += headerLine(prefix + name, encodeAttribute(value));
  }
  return { headers: HeaderBlock.of(lines), payload: event.data };
};

/** Writes an event in structured mode, format JSON. */
export const toStructuredMessage = (event: WireEvent): WireMessage => ({
  headers: HeaderBlock.of(headerLine("Content-Type", `${structuredType}+json; charset=utf-8`)),
  payload: Buffer.from(JSON.stringify({ ...event.attributes, ...structuredData(event) })),
});

// Names and media types are compared without regard to case.
const contentType = (headers: string): string | undefined =>
  /\r\ncontent-type:[ \t]*([^\r\n]*)/i.exec(headers)?.[1]?.toLowerCase();

/** Tells whether a header block announces a structured event. */
export const isStructured = (headers: string): boolean => contentType(headers)?.startsWith(structuredType) ?? false;

const checkFormat = (headers: string): void => {
  const type = contentType(headers) ?? "";
  if (type.startsWith(`${structuredType}-batch`))
    throw new BuskerError(
      "invalid_request",
      "NATS has no batches of CloudEvents (binding 1.3): send one event a message",
    );
  if (!/^application\/cloudevents(\+json)?\s*(;|$)/.test(type))
    throw new BuskerError(
      "invalid_request",
      `a structured CloudEvent must be application/cloudevents+json; got ${JSON.stringify(type)}`,
    );
};

const fromBinary = (headers: string, payload: Uint8Array): WireEvent => {
  const attributes: Record<string, string> = {};
  const pairs = headerPairs(headers);
  for (let at = 0; at < pairs.length; at += 2) {
    const header = pairs[at]?.toLowerCase() ?? "";
    const name = header.startsWith(prefix) ? header.slice(prefix.length) : "";
    if (isAttributeName(name)) attributes[name] = decodeAttribute(pairs[at + 1] ?? "");
  }
  return { attributes, data: payload };
};

/**
 * Reads a message in either mode. A message without any attribute gives an event without attributes: use `complete`.
 * Throws `invalid_request` when it says it is structured and is not, or when an attribute cannot be decoded.
 */
export const fromMessage = (message: Pick<Msg, "data"> & HeaderBearer): WireEvent => {
  const headers = headerText(message);
  if (!isStructured(headers)) return fromBinary(headers, message.data);
  checkFormat(headers);
  return fromStructured(message.data);
};

/** Fills in what CloudEvents requires and the sender left out, because anyone may publish. */
export const complete = (
  event: WireEvent,
  defaults: { readonly source: string; readonly type: string },
): WireEvent => ({
  attributes: { specversion: "1.0", id: randomUUID(), ...defaults, ...event.attributes },
  data: event.data,
});
