import { randomUUID } from "node:crypto";
import type { Msg, MsgHdrs } from "nats";
import { BuskerError, type ErrorCode, isErrorCode } from "../../schemas/errors.ts";
import { invokeType, replyType } from "../../schemas/events.ts";
import { defaultRequestHead, type RequestHead, type ResponseHead, wireHeaders } from "../../schemas/invocation.ts";
import { readTraceHeaders, withTraceHeaders } from "../../schemas/trace-context.ts";
import { decodeAttribute, encodeAttribute, fromMessage, isStructured } from "./cloud-events.ts";
import { frameLine } from "./frames.ts";
import { type HeaderBearer, HeaderBlock, headerLine, headerPairs, headerText, headerValue } from "./headers.ts";
import { readTraceAttributes } from "./trace-attributes.ts";

/** What a caller sends. */
export interface RequestParts {
  readonly callId: string;
  readonly source: string;
  readonly head: RequestHead;
  readonly contentType?: string | undefined;
  readonly traceparent?: string | undefined;
  /** Only with a `traceparent`. */
  readonly tracestate?: string | undefined;
  /** Absent: the function's own timeout alone. */
  readonly deadlineMs?: number | undefined;
  /** First credit for a streamed answer, in bytes; absent: the answer must be whole. */
  readonly windowBytes?: number | undefined;
  /** The body goes on in frames. */
  readonly isStreamed?: boolean;
  /** A streamed answer that is one of events shall be kept. */
  readonly keepsEvents?: boolean;
  /** The caller keeps a record of the call. */
  readonly isRecorded?: boolean;
  /** Further lines of the block, each ended by CRLF. */
  readonly more?: string;
}

/** What a replica reads. */
export interface ReceivedRequest {
  readonly callId: string;
  readonly head: RequestHead;
  readonly body: Uint8Array;
  /** Undefined when the caller set none. */
  readonly deadlineMs: number | undefined;
  readonly hops: number;
  /** First credit for a streamed answer, in bytes; 0 when the caller takes a whole one only. */
  readonly windowBytes: number;
  /** `body` is only the beginning; the rest comes in frames. */
  readonly isStreamed: boolean;
  /** A stream of events in the answer shall be kept. */
  readonly keepsEvents: boolean;
  /** Its caller keeps a record of it: it is a durable call, and no synchronous one. */
  readonly isRecorded: boolean;
}

const constantLines = (type: string): string => `ce-specversion: 1.0\r\nce-type: ${type}\r\n`;
const requestLines = constantLines(invokeType);
const replyLines = constantLines(replyType);

/** The header block of an invocation: a binary-mode CloudEvent, its HTTP head in one header. */
export const encodeRequest = (parts: RequestParts): MsgHdrs => {
  let lines = `${requestLines}ce-source: ${parts.source}\r\nce-id: ${encodeAttribute(parts.callId)}\r\n`;
  if (parts.contentType !== undefined) lines += headerLine("ce-datacontenttype", encodeAttribute(parts.contentType));
  if (parts.traceparent !== undefined) lines += headerLine("ce-traceparent", encodeAttribute(parts.traceparent));
  if (parts.tracestate !== undefined) lines += headerLine("ce-tracestate", encodeAttribute(parts.tracestate));
  if (parts.windowBytes !== undefined) lines += `${wireHeaders.window}: ${parts.windowBytes}\r\n`;
  if (parts.isStreamed) lines += `${wireHeaders.body}: stream\r\n`;
  if (parts.keepsEvents) lines += `${wireHeaders.keep}: events\r\n`;
  if (parts.isRecorded) lines += `${wireHeaders.recorded}: elsewhere\r\n`;
  if (parts.deadlineMs !== undefined) lines += `${wireHeaders.deadline}: ${parts.deadlineMs}\r\n`;
  lines += `${wireHeaders.http}: ${JSON.stringify(parts.head)}\r\n${parts.more ?? ""}`;
  return HeaderBlock.of(lines);
};

/** The header block of a call that is passed on: as it came, with one hop more. */
export const encodePassedOn = (message: Msg, hops: number): MsgHdrs => {
  const pairs = headerPairs(headerText(message));
  let lines = "";
  for (let at = 0; at < pairs.length; at += 2)
    if (pairs[at] !== wireHeaders.hops) lines += headerLine(pairs[at] ?? "", pairs[at + 1] ?? "");
  return HeaderBlock.of(`${lines}${wireHeaders.hops}: ${hops}\r\n`);
};

const isTextList = (value: unknown): value is readonly string[] =>
  Array.isArray(value) && value.every((item) => typeof item === "string");

const parseHead = (json: string): RequestHead => {
  try {
    const head = JSON.parse(json) as Partial<RequestHead>;
    const canBe = head.upgrade === undefined || head.upgrade === "websocket";
    if (typeof head.method === "string" && typeof head.path === "string" && isTextList(head.headers) && canBe)
      return head as RequestHead;
  } catch {
    // Said below: either way it is not a head.
  }
  throw new BuskerError(
    "invalid_request",
    `header ${wireHeaders.http} must be JSON with method, path and headers, and no upgrade but websocket; got ${json.slice(0, 200)}`,
  );
};

const notForFunctions = /^(nats-|busker-)/i;

// A plain client's own headers reach the function as HTTP headers, CloudEvents attributes among them.
const headOfPlain = (headers: string): RequestHead => {
  const pairs = headerPairs(headers);
  const kept: string[] = [];
  for (let at = 0; at < pairs.length; at += 2) {
    const name = pairs[at] ?? "";
    if (notForFunctions.test(name)) continue;
    const value = pairs[at + 1] ?? "";
    if (name.toLowerCase() === "ce-datacontenttype") kept.push("content-type", decodeAttribute(value));
    else kept.push(name, value);
  }
  if (kept.length === 0) return defaultRequestHead;
  const trace = readTraceAttributes(headers);
  // As an HTTP header, too: that is what a function's own tracing looks for.
  return { ...defaultRequestHead, headers: trace.traceparent === undefined ? kept : withTraceHeaders(kept, trace) };
};

type RequestMessage = Pick<Msg, "data"> & HeaderBearer;

const decodeStructured = (message: RequestMessage): Pick<ReceivedRequest, "callId" | "head" | "body"> => {
  const event = fromMessage(message);
  const headers: string[] = [];
  for (const [name, value] of Object.entries(event.attributes))
    headers.push(name === "datacontenttype" ? "content-type" : `ce-${name}`, encodeAttribute(value));
  const trace = readTraceHeaders(event.attributes["traceparent"], event.attributes["tracestate"]);
  return {
    callId: event.attributes["id"] ?? randomUUID(),
    head: { ...defaultRequestHead, headers: withTraceHeaders(headers, trace) },
    body: event.data,
  };
};

const wholeNumber = (text: string | undefined): number | undefined =>
  text !== undefined && /^\d{1,16}$/.test(text) ? Number(text) : undefined;

/**
 * Reads an invocation from anybody: our own callers, a CloudEvent of any SDK in either mode, or a bare payload.
 * Throws `invalid_request` naming the header that cannot be read.
 */
export const decodeRequest = (message: RequestMessage): ReceivedRequest => {
  const headers = headerText(message);
  if (headers === "")
    return {
      callId: randomUUID(),
      head: defaultRequestHead,
      body: message.data,
      deadlineMs: undefined,
      hops: 0,
      windowBytes: 0,
      isStreamed: false,
      keepsEvents: false,
      isRecorded: false,
    };
  const common = {
    deadlineMs: wholeNumber(headerValue(headers, wireHeaders.deadline)),
    hops: wholeNumber(headerValue(headers, wireHeaders.hops)) ?? 0,
    windowBytes: wholeNumber(headerValue(headers, wireHeaders.window)) ?? 0,
    isStreamed: headerValue(headers, wireHeaders.body) === "stream",
    keepsEvents: headerValue(headers, wireHeaders.keep) === "events",
    isRecorded: headerValue(headers, wireHeaders.recorded) === "elsewhere",
  };
  const json = headerValue(headers, wireHeaders.http);
  if (json === undefined && isStructured(headers)) return { ...decodeStructured(message), ...common };
  const id = headerValue(headers, "ce-id");
  return {
    callId: id === undefined || id === "" ? randomUUID() : decodeAttribute(id),
    head: json === undefined ? headOfPlain(headers) : parseHead(json),
    body: message.data,
    ...common,
  };
};

/** A replica's count, as each of its answers brings it. */
export interface LoadParts {
  readonly inFlight: number;
  readonly slots: number;
  /** The caller's reservation has come up: a slot is held for it. */
  readonly offer?: boolean;
}

const loadLine = ({ inFlight, slots, offer }: LoadParts): string =>
  `${wireHeaders.load}: ${inFlight}/${slots}${offer ? "/offer" : ""}\r\n`;

/** The header block of a streamed answer's last frame. */
export const encodeLastFrame = (
  kind: "end" | "abort",
  number: number,
  load: LoadParts,
  error: ErrorCode | undefined,
): MsgHdrs =>
  HeaderBlock.of(
    frameLine(kind, number) + loadLine(load) + (error === undefined ? "" : `${wireHeaders.error}: ${error}\r\n`),
  );

/** What a replica answers. */
export interface ReplyParts extends LoadParts {
  readonly callId: string;
  readonly source: string;
  readonly head: ResponseHead;
  readonly error?: ErrorCode | undefined;
  /** The answer is streamed: where the caller's frames go. */
  readonly inbox?: string | undefined;
  /** The id under which the answer is kept. */
  readonly stream?: string | undefined;
}

/** The header block of a reply, or of a streamed one's `head` frame. */
export const encodeReply = (parts: ReplyParts): MsgHdrs => {
  let lines = `${replyLines}ce-source: ${parts.source}\r\nce-id: ${encodeAttribute(parts.callId)}\r\n`;
  lines += loadLine(parts);
  if (parts.inbox !== undefined) lines += frameLine("head", 0) + headerLine(wireHeaders.inbox, parts.inbox);
  if (parts.stream !== undefined) lines += `${wireHeaders.stream}: ${parts.stream}\r\n`;
  if (parts.error !== undefined) lines += `${wireHeaders.error}: ${parts.error}\r\n`;
  return HeaderBlock.of(`${lines}${wireHeaders.http}: ${JSON.stringify(parts.head)}\r\n`);
};

/** What a caller reads. */
export interface ReceivedReply {
  readonly head: ResponseHead;
  readonly error: ErrorCode | undefined;
  readonly inFlight: number;
  readonly slots: number;
  readonly offer: boolean;
  /** The id under which the answer is kept: its body is there, and not in what follows. */
  readonly stream?: string;
}

// What HTTP allows in a header (RFC 9110, 5.1 and 5.5): a caller that writes another gets an exception from Node.
const isHeader = (text: string, at: number): boolean =>
  at % 2 === 0 ? /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(text) : /^[\t\x20-\x7e\x80-\xff]*$/.test(text);

const areHeaders = (headers: readonly string[]): boolean => {
  for (let at = 0; at < headers.length; at += 1) if (!isHeader(headers[at] ?? "", at)) return false;
  return true;
};

// A function that holds its replica's credentials writes its own replies, so no part of them is taken on trust.
const parseResponseHead = (json: string, isUpgrade: boolean): ResponseHead => {
  const head = JSON.parse(json) as Partial<ResponseHead> | null;
  const status = head?.status;
  const isSwitch = isUpgrade && status === 101;
  if (!head || !Number.isInteger(status) || status === undefined || ((status < 200 || status > 999) && !isSwitch))
    throw new RangeError(`a response's status must be 200 to 999; got ${JSON.stringify(status)}`);
  if (!isTextList(head.headers) || head.headers.length % 2 !== 0 || !areHeaders(head.headers))
    throw new RangeError("a response's headers must be names and values in turn, as HTTP allows them");
  return head as ResponseHead;
};

/**
 * Reads a reply's header block; a reply of somebody who answered without one is a plain 200. Throws when its HTTP head
 * could not be written to a client; 101 can only to one that has asked for an upgrade.
 */
export const decodeReply = (headers: string, isUpgrade = false): ReceivedReply => {
  const json = headerValue(headers, wireHeaders.http);
  const error = headerValue(headers, wireHeaders.error);
  const [inFlight, slots, offer] = (headerValue(headers, wireHeaders.load) ?? "0/0").split("/");
  const stream = headerValue(headers, wireHeaders.stream);
  return {
    head: json === undefined ? { status: 200, headers: [] } : parseResponseHead(json, isUpgrade),
    error: error !== undefined && isErrorCode(error) ? error : undefined,
    inFlight: Number(inFlight),
    slots: Number(slots),
    offer: offer === "offer",
    ...(stream !== undefined && /^[0-9a-f]{32}$/.test(stream) ? { stream } : {}),
  };
};
