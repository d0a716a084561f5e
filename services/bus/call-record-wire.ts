import type { MsgHdrs } from "nats";
import type { CallRecord } from "../../schemas/call.ts";
import { BuskerError } from "../../schemas/errors.ts";
import { callRecordType } from "../../schemas/events.ts";
import { wireHeaders } from "../../schemas/invocation.ts";
import { encodeAttribute } from "./cloud-events.ts";
import { storageLines } from "./call-elsewhere.ts";
import { type HeaderBearer, HeaderBlock, headerText, headerValue } from "./headers.ts";

/** A record with the bodies that are kept behind it; empty where they are not. */
export interface WholeRecord {
  readonly record: CallRecord;
  readonly request: Uint8Array;
  readonly response: Uint8Array;
}

/** A record and no bodies. */
export const withoutBodies = (record: CallRecord): WholeRecord => ({
  record,
  request: new Uint8Array(),
  response: new Uint8Array(),
});

const longestMessage = 200;

/** Of a dead call: what a list of dead letters shows, so that nobody must read the bodies for it. */
const briefLine = ({ attempts, response, error }: CallRecord): string => {
  const brief = {
    attempts: attempts.at(-1)?.number ?? 0,
    ...(response === undefined ? {} : { status: response.status }),
    ...(error === undefined ? {} : { error: { code: error.code, message: error.message.slice(0, longestMessage) } }),
  };
  return `${wireHeaders.brief}: ${JSON.stringify(brief)}\r\n`;
};

/** The headers and payload of a record: a binary-mode CloudEvent. `more`: further header lines, each ended by CRLF. */
export const encodeRecord = (
  source: string,
  { record, request, response }: WholeRecord,
  more = "",
): { readonly headers: MsgHdrs; readonly payload: Uint8Array } => {
  const json = Buffer.from(JSON.stringify(record));
  const lines =
    `ce-specversion: 1.0\r\nce-type: ${callRecordType}\r\nce-source: ${source}\r\nce-id: ${encodeAttribute(record.id)}\r\n` +
    `${wireHeaders.state}: ${record.state}\r\n` +
    `${wireHeaders.layout}: ${json.length} ${request.length} ${response.length}\r\n` +
    storageLines(record) +
    (record.state === "dead" ? briefLine(record) : "") +
    more;
  return { headers: HeaderBlock.of(lines), payload: Buffer.concat([json, request, response]) };
};

const unreadable = (why: string): BuskerError => new BuskerError("internal", `a call's record cannot be read: ${why}`);

/** Reads a record. Throws `internal` when the message holds none. */
export const decodeRecord = (message: { readonly data: Uint8Array } & HeaderBearer): WholeRecord => {
  const layout = headerValue(headerText(message), wireHeaders.layout);
  const [json = -1, request = -1, response = -1] = (layout ?? "").split(" ").map(Number);
  if (!(json >= 0 && json + request + response === message.data.length))
    throw unreadable(`its layout is ${JSON.stringify(layout)}, of ${message.data.length} bytes`);
  const bodyAt = json + request;
  return {
    record: JSON.parse(Buffer.from(message.data.subarray(0, json)).toString("utf8")) as CallRecord,
    request: message.data.subarray(json, bodyAt),
    response: message.data.subarray(bodyAt),
  };
};
