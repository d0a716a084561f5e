import { maxPartBytes, recordStates } from "../../schemas/call.ts";
import { errorCatalogue } from "../../schemas/errors.ts";
import { eventExamples } from "../../schemas/event-examples.ts";
import { type EventType, eventSchemas, callRecordType, invokeType, replyType } from "../../schemas/events.ts";
import { frameKinds, maxEventBytes, maxFrameBytes, wireHeaders } from "../../schemas/invocation.ts";
import type { JsonSchema } from "../../schemas/json-schema.ts";
import { maxBodyBytes } from "../../schemas/topology.ts";
import { controlSchemas, wireSchemas } from "../../schemas/wire-schemas.ts";

/*
 * The messages of the bus: payload, headers and examples, made from schemas/.
 */

const ref = (name: string): JsonSchema => ({ $ref: `#/components/schemas/${name}` });

const attribute = (description: string, more: JsonSchema = {}): JsonSchema => ({
  type: "string",
  description,
  ...more,
});

/** The attributes of CloudEvents 1.0 in binary mode; every value is percent-encoded. */
const attributes = {
  "ce-specversion": attribute("Version of CloudEvents", { const: "1.0" }),
  "ce-id": attribute("The event's id; of a call, the one id that follows it everywhere"),
  "ce-source": attribute("Who published it: /busker/<name> for parts of the platform", { format: "uri-reference" }),
  "ce-type": attribute("The event's type"),
} as const;

const optionalAttributes = {
  "ce-time": attribute("When it was published (RFC 3339)"),
  "ce-datacontenttype": attribute("Media type of the payload"),
  "ce-traceparent": attribute("W3C trace context (CloudEvents extension for distributed tracing)"),
  "ce-tracestate": attribute("What tracing systems have added to that (the same extension)"),
  "Nats-Msg-Id": attribute("Equal to ce-id, so that a stream swallows a repeat"),
} as const;

const jsonText = (description: string, schema: string): JsonSchema => ({
  type: "string",
  description,
  contentMediaType: "application/json",
  contentSchema: ref(schema),
});

const callHeaders = {
  [wireHeaders.deadline]: attribute("Absolute deadline of the call, milliseconds since the epoch", {
    pattern: "^\\d{1,16}$",
  }),
  [wireHeaders.hops]: attribute("How often full replicas have passed the call on", { pattern: "^\\d{1,16}$" }),
  [wireHeaders.window]: attribute("The caller takes a streamed answer: its first credit for the body, in bytes", {
    pattern: "^\\d{1,16}$",
  }),
  [wireHeaders.body]: attribute("The payload is only the beginning of the body; the rest comes in frames", {
    const: "stream",
  }),
  [wireHeaders.durable]: jsonText("Of an accepted durable call: what is known of it besides", "DurableFacts"),
  [wireHeaders.keep]: attribute("A stream of events in the answer shall be kept, so that its readers may come back", {
    const: "events",
  }),
  [wireHeaders.recorded]: attribute("The caller keeps a record of the call, so that the replica puts it on none", {
    const: "elsewhere",
  }),
};

const frame = attribute("A part of a streamed body: its kind and its number; for credit the bytes granted in all", {
  pattern: `^(${frameKinds.join("|")}) \\d{1,16}$`,
});

const replyHeaders = {
  [wireHeaders.load]: attribute(
    "<in flight>/<slots> of the replica after this call, slots held for other callers included, slots 0 when unlimited; " +
      "a third part /offer says that this caller's reservation has come up: the slot just freed is held for it",
    { pattern: "^\\d+/\\d+(/offer)?$" },
  ),
  [wireHeaders.error]: attribute("A reply made by the platform and not by the function: why (schemas/errors.md)", {
    enum: Object.keys(errorCatalogue),
  }),
  [wireHeaders.frame]: frame,
  [wireHeaders.inbox]: attribute("Where the caller's frames of this call go"),
  [wireHeaders.stream]: attribute("The id under which the answer is kept; its data is there and not here", {
    pattern: "^[0-9a-f]{32}$",
  }),
};

/** Schemas of headers, by the name they have in the document. */
export const headerSchemas: Readonly<Record<string, JsonSchema>> = {
  CloudEventHeaders: {
    type: "object",
    required: Object.keys(attributes),
    properties: { ...attributes, ...optionalAttributes },
  },
  InvocationHeaders: {
    type: "object",
    description: "All optional: what is missing is filled in where the event enters",
    properties: {
      ...attributes,
      "ce-type": attribute("The event's type", { const: invokeType }),
      ...optionalAttributes,
      [wireHeaders.http]: jsonText("The HTTP head of the request, as the function sees it", "RequestHead"),
      ...callHeaders,
    },
  },
  ReplyHeaders: {
    type: "object",
    properties: {
      ...attributes,
      "ce-type": attribute("The event's type", { const: replyType }),
      [wireHeaders.http]: jsonText("The HTTP head of the response", "ResponseHead"),
      ...replyHeaders,
    },
  },
  RecordHeaders: {
    type: "object",
    required: [wireHeaders.state, wireHeaders.layout],
    properties: {
      ...attributes,
      "ce-type": attribute("The event's type", { const: callRecordType }),
      [wireHeaders.state]: attribute("The call's state", { enum: [...recordStates] }),
      [wireHeaders.layout]: attribute("<bytes of JSON> <bytes of request body> <bytes of response body>", {
        pattern: "^\\d+ \\d+ \\d+$",
      }),
      [wireHeaders.brief]: attribute("Of a dead call: attempts, status and error, as JSON", {
        contentMediaType: "application/json",
      }),
      [wireHeaders.expires]: attribute("When the record may go, milliseconds since the epoch", {
        pattern: "^\\d{1,16}$",
      }),
      [wireHeaders.elsewhere]: attribute(
        "What it has outside this message, separated by spaces: the subject of its parts, names of objects in store payloads",
      ),
      [wireHeaders.target]: jsonText("Of an outcome: whom to tell it", "OutcomeTarget"),
      [wireHeaders.tries]: attribute(
        "Of an outcome that was tried to be told: <tries> <milliseconds since the epoch when the next is due>",
        { pattern: "^\\d+ \\d+$" },
      ),
    },
  },
  FrameHeaders: {
    type: "object",
    required: [wireHeaders.frame],
    properties: { [wireHeaders.frame]: frame, [wireHeaders.error]: replyHeaders[wireHeaders.error] },
  },
  KeptFrameHeaders: {
    type: "object",
    required: [wireHeaders.frame],
    properties: {
      [wireHeaders.frame]: frame,
      [wireHeaders.error]: replyHeaders[wireHeaders.error],
      "ce-id": attributes["ce-id"],
      [wireHeaders.http]: jsonText("In a head: the HTTP head of the response", "ResponseHead"),
      [wireHeaders.deadline]: callHeaders[wireHeaders.deadline],
      [wireHeaders.replica]: attribute("In a head: the id of the replica that answers"),
    },
  },
  PartHeaders: {
    type: "object",
    required: [wireHeaders.frame, wireHeaders.writer],
    properties: {
      [wireHeaders.frame]: frame,
      [wireHeaders.error]: replyHeaders[wireHeaders.error],
      [wireHeaders.http]: jsonText("In a head: the HTTP head of the response", "ResponseHead"),
      [wireHeaders.writer]: attribute("Who writes it; parts that do not say the same as the head are of no response"),
    },
  },
};

const exampleHeaders = (type: string): JsonSchema => ({
  "ce-specversion": "1.0",
  "ce-id": "0d9c6c2e-5f0e-4b7c-9d9e-2f6f0a3c1b11",
  "ce-source": "/busker/example",
  "ce-type": type,
  "ce-time": "2026-01-31T12:00:00.123Z",
  "ce-datacontenttype": "application/json",
});

const eventMessage = (type: EventType): JsonSchema => ({
  name: type,
  contentType: "application/json",
  headers: { allOf: [ref("CloudEventHeaders"), { type: "object", properties: { "ce-type": { const: type } } }] },
  payload: ref(type),
  examples: (["full", "bare"] as const).map((name) => ({
    name,
    headers: exampleHeaders(type),
    payload: eventExamples[type][name],
  })),
});

const bytes = (what: string): JsonSchema => ({
  description: `${what}; at most ${maxBodyBytes} bytes in one message`,
  type: "string",
  format: "binary",
});

const control = (kind: string): JsonSchema => ({
  name: `control.${kind}`,
  summary: controlSchemas[kind as keyof typeof controlSchemas]["description"],
  contentType: "application/json",
  payload: ref(`control.${kind}`),
});

/** Every message by its name in the document. */
export const messages: Readonly<Record<string, JsonSchema>> = {
  invocation: {
    name: invokeType,
    summary: "An invocation, synchronous or durable; any payload",
    contentType: "application/octet-stream",
    headers: ref("InvocationHeaders"),
    payload: bytes("The body of the request"),
  },
  reply: {
    name: replyType,
    summary: "The response to an invocation; a reply without headers is a plain 200",
    contentType: "application/octet-stream",
    headers: ref("ReplyHeaders"),
    payload: bytes("The body of the response"),
  },
  frame: {
    name: "frame",
    summary: "Of a streamed call, to its replica: credit for the answer, or a part of the request's body",
    contentType: "application/octet-stream",
    headers: ref("FrameHeaders"),
    payload: { description: `At most ${maxFrameBytes} bytes`, type: "string", format: "binary" },
  },
  keptFrame: {
    name: "keptFrame",
    summary: "Of a kept answer: its head, one event as the client gets it, or its end",
    contentType: "text/event-stream",
    headers: ref("KeptFrameHeaders"),
    payload: { description: `At most ${maxEventBytes} bytes and the event's id`, type: "string", format: "binary" },
  },
  partFrame: {
    name: "partFrame",
    summary:
      "A part of a durable call's response: its head, the next bytes, its end, or why it has none. A head takes the place of all before it",
    contentType: "application/octet-stream",
    headers: ref("PartHeaders"),
    payload: { description: `At most ${maxPartBytes} bytes`, type: "string", format: "binary" },
  },
  callRecord: {
    name: callRecordType,
    summary:
      "What is known of one call: JSON, then its request's body and its response's, as the header Busker-Layout says",
    contentType: "application/octet-stream",
    headers: ref("RecordHeaders"),
    payload: ref("CallRecord"),
  },
  replicaLoad: {
    name: "replicaLoad",
    summary: "Answer to a ping, and with offer: true the offer of a slot, held for the caller for a moment",
    contentType: "application/json",
    payload: ref("ReplicaLoad"),
  },
  secretAnswer: {
    name: "secretAnswer",
    summary: "The provider's answer to a request about secrets: done, the names there are, or why not",
    contentType: "application/json",
    payload: ref("SecretAnswer"),
  },
  enrolAnswer: {
    name: "enrolAnswer",
    summary: "The provider's answer to a replica that asks for its launch: the launch, when to ask again, or why not",
    contentType: "application/json",
    payload: ref("EnrolAnswer"),
  },
  bundleAnswer: {
    name: "bundleAnswer",
    summary: "The provider's answer to a replica that asks for a part of its bundle: the part, or why not",
    contentType: "application/json",
    payload: ref("BundleAnswer"),
  },
  scaleExplanation: {
    name: "scaleExplanation",
    summary:
      "The scaler's answer to who asks for its decisions: the latest, the last that changed something, or why not",
    contentType: "application/json",
    payload: ref("ScaleExplanation"),
  },
  jetStreamAnswer: {
    name: "jetStreamAnswer",
    summary: "An answer of JetStream's API (nats-architecture-and-design, ADR-1)",
    contentType: "application/json",
    payload: { type: "object" },
  },
  ...Object.fromEntries(Object.keys(controlSchemas).map((kind) => [`control.${kind}`, control(kind)])),
  ...Object.fromEntries((Object.keys(eventSchemas) as EventType[]).map((type) => [type, eventMessage(type)])),
};

/** Schemas of payloads and of JSON in headers, by the name they have in the document. */
export const payloadSchemas: Readonly<Record<string, JsonSchema>> = {
  ...eventSchemas,
  ...wireSchemas,
  ...Object.fromEntries(Object.entries(controlSchemas).map(([kind, schema]) => [`control.${kind}`, schema])),
};
