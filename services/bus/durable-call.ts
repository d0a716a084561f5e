import { randomUUID } from "node:crypto";
import type { MsgHdrs } from "nats";
import type { DurableFacts } from "../../schemas/call.ts";
import { BuskerError } from "../../schemas/errors.ts";
import { type RequestHead, wireHeaders } from "../../schemas/invocation.ts";
import { type FunctionName, formatFunctionName } from "../../schemas/names.ts";
import { callToken, parseQueueSubject, type Priority } from "../../schemas/subjects.ts";
import { decodeAttribute } from "./cloud-events.ts";
import type { BusMessage } from "./connection.ts";
import { type HeaderBearer, headerText, headerValue } from "./headers.ts";
import { decodeRequest, encodeRequest } from "./invocation-wire.ts";
import { readTraceAttributes } from "./trace-attributes.ts";

/** A durable call that is or was queued. */
export interface DurableCall extends DurableFacts {
  readonly id: string;
  readonly function: FunctionName;
  readonly priority: Priority;
  readonly head: RequestHead;
  readonly contentType?: string | undefined;
  readonly traceparent?: string | undefined;
  readonly tracestate?: string | undefined;
  /** Empty where there is a `payload`. */
  readonly body: Uint8Array;
}

const factsOf = ({ queuedMs, runAtMs, callbackUrl, parent, replayOf, payload }: DurableCall): DurableFacts => ({
  queuedMs,
  ...(runAtMs === undefined ? {} : { runAtMs }),
  ...(callbackUrl === undefined ? {} : { callbackUrl }),
  ...(parent === undefined ? {} : { parent }),
  ...(replayOf === undefined ? {} : { replayOf }),
  ...(payload === undefined ? {} : { payload }),
});

/**
 * The header block of a queued call. Its message id holds the function's name: an id that travels along a chain of
 * functions is not a repeat.
 */
export const encodeDurable = (source: string, call: DurableCall): MsgHdrs =>
  encodeRequest({
    callId: call.id,
    source,
    head: call.head,
    contentType: call.contentType,
    traceparent: call.traceparent,
    tracestate: call.tracestate,
    more:
      `${wireHeaders.durable}: ${JSON.stringify(factsOf(call))}\r\n` +
      `Nats-Msg-Id: ${formatFunctionName(call.function)}/${callToken(call.id)}\r\n`,
  });

const attributeOf = (headers: string, name: string): string | undefined => {
  const text = headerValue(headers, `ce-${name}`);
  return text === undefined ? undefined : decodeAttribute(text);
};

/** When a call whose header block this is was due for the first time, milliseconds since the epoch; undefined when it is no queued call's. */
export const readDueMs = (headers: string): number | undefined => {
  const facts = headerValue(headers, wireHeaders.durable);
  if (facts === undefined) return undefined;
  const { queuedMs, runAtMs } = JSON.parse(facts) as DurableFacts;
  return runAtMs ?? queuedMs;
};

/** Reads a queued call. Throws `internal` when the message is none: only services publish there. */
export const decodeDurable = (message: Pick<BusMessage, "subject" | "data"> & HeaderBearer): DurableCall => {
  const queue = parseQueueSubject(message.subject);
  const headers = headerText(message);
  const facts = headerValue(headers, wireHeaders.durable);
  if (!queue || facts === undefined)
    throw new BuskerError("internal", `a message on ${message.subject} is no queued call`);
  const { callId, head, body } = decodeRequest(message);
  const { namespace, name, priority } = queue;
  return {
    ...(JSON.parse(facts) as DurableFacts),
    id: callId,
    function: { namespace, name },
    priority,
    head,
    contentType: attributeOf(headers, "datacontenttype"),
    ...readTraceAttributes(headers),
    body,
  };
};

/** An id for a call that came without one. */
export const newCallId = (): string => randomUUID();
