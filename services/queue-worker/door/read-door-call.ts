import { findHeader, readCallOptions } from "../../../schemas/call-options.ts";
import { checkName, type FunctionName } from "../../../schemas/names.ts";
import { callToken, parseFunctionSubject } from "../../../schemas/subjects.ts";
import { readTraceHeaders } from "../../../schemas/trace-context.ts";
import { type GivenIds, keyedCallId, readGivenIds } from "../../bus/call-ids.ts";
import { fromMessage } from "../../bus/cloud-events.ts";
import type { DurableCall } from "../../bus/durable-call.ts";
import { type HeaderBearer, headerPairs, headerText } from "../../bus/headers.ts";
import { decodeRequest } from "../../bus/invocation-wire.ts";

/** A message at the door, as stream DOOR keeps it. */
export interface DoorMessage extends HeaderBearer {
  readonly subject: string;
  readonly data: Uint8Array;
  /** Its number in the stream. */
  readonly seq: number;
  /** When it came, nanoseconds since the epoch. */
  readonly atNanos: number;
}

/** A call as its sender meant it, before it is known which of the calls there are it is. */
export interface DoorCall {
  /** Under an id that follows from the message, so that it is the same however often the message comes. */
  readonly call: DurableCall;
  readonly given: GivenIds;
}

/** The function that a message is for. Throws `invalid_request` when its subject names none that there could be. */
export const readDoorFunction = ({ subject }: Pick<DoorMessage, "subject">): FunctionName => {
  const { namespace, name } = parseFunctionSubject(subject, 1) ?? { namespace: "", name: "" };
  return { namespace: checkName("namespace", namespace), name: checkName("function name", name) };
};

/** The id of a call that came without one: the same however often its message comes. */
export const doorId = (name: FunctionName, { seq, atNanos }: Pick<DoorMessage, "seq" | "atNanos">): string =>
  keyedCallId(name, `DOOR ${seq} ${atNanos}`);

/**
 * The id of a call that is an event. An event's own id is one only together with its source (CloudEvents 1.0, "id"): two
 * sources that both count 1, 2, 3 … send different events. An id without a source is no event's, but the call's as it is.
 */
const eventCallId = (
  name: FunctionName,
  { id, source }: Readonly<Record<string, string | undefined>>,
  given: string | undefined,
): string | undefined => {
  if (!id || !source) return id || undefined;
  return given ?? keyedCallId(name, `EVENT ${JSON.stringify([source, id])}`);
};

// The gateway gives both to its functions, and no others of these names.
const withCallHeaders = (headers: readonly string[], id: string, atNanos: number): readonly string[] => {
  const own = headers.flatMap((name, at) =>
    at % 2 === 1 || /^x-(call-id|start-time)$/i.test(name) ? [] : [name, headers[at + 1] ?? ""],
  );
  return [...own, "X-Call-Id", id, "X-Start-Time", String(atNanos)];
};

/**
 * Reads a message: a CloudEvent in either mode, a bare payload, or what our own callers send. An event with the same source
 * and id is the same call; `X-Callback-Url`, `X-Delay` and the like are headers of the message. Throws `invalid_request` naming what cannot be read.
 */
export const readDoorCall = (message: DoorMessage): DoorCall => {
  const name = readDoorFunction(message);
  const { head, body } = decodeRequest(message);
  const { upgrade: _never, ...plain } = head;
  const headers = [...headerPairs(headerText(message)), ...head.headers];
  const given = readGivenIds(headers);
  const { attributes } = fromMessage(message);
  const id = eventCallId(name, attributes, given.id) ?? given.id ?? doorId(name, message);
  callToken(id);
  const acceptedMs = Math.floor(message.atNanos / 1e6);
  const contentType = attributes["datacontenttype"] ?? findHeader(headers, "Content-Type");
  const trace = readTraceHeaders(
    attributes["traceparent"] ?? findHeader(headers, "traceparent"),
    attributes["tracestate"] ?? findHeader(headers, "tracestate"),
  );
  return {
    given: { ...given, id },
    call: {
      id,
      function: name,
      queuedMs: acceptedMs,
      ...readCallOptions(headers, acceptedMs),
      head: { ...plain, headers: withCallHeaders(head.headers, id, message.atNanos) },
      ...(contentType === undefined ? {} : { contentType }),
      ...trace,
      body,
    },
  };
};
