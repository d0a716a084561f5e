import { type CallRecord, type DurableFacts, type OutcomeTarget, recordStates } from "./call.ts";
import type { BundleAnswer, EnrolAnswer } from "./enrolment.ts";
import type { FunctionRecord, FunctionStatusRecord } from "./function.ts";
import { functionSpecSchema } from "./function-schema.ts";
import type { ReplicaControl, ReplicaLoad, ReplicaOrder, RequestHead, ResponseHead } from "./invocation.ts";
import { amount, type JsonSchema, listOf, mapOf, object, string, time, whole } from "./json-schema.ts";
import type { FunctionName } from "./names.ts";
import type { ScaleExplanation } from "./scaler.ts";
import type { SecretAnswer, SecretRecord } from "./secret.ts";
import { sealedBoxSchema } from "./secret-schema.ts";
import { priorities, replicaStates } from "./subjects.ts";

/*
 * JSON Schemas of what is JSON on the bus and no event's data: heads in headers, control messages, values of buckets.
 */

/** What each of these schemas describes. */
export interface WireData {
  readonly RequestHead: RequestHead;
  readonly ResponseHead: ResponseHead;
  readonly ReplicaLoad: ReplicaLoad;
  readonly FunctionRecord: FunctionRecord;
  readonly FunctionStatusRecord: FunctionStatusRecord;
  readonly SecretRecord: SecretRecord;
  readonly SecretAnswer: SecretAnswer;
  readonly EnrolAnswer: EnrolAnswer;
  readonly BundleAnswer: BundleAnswer;
  readonly ScaleExplanation: ScaleExplanation;
  readonly CallRecord: FlatRecord;
  readonly DurableFacts: DurableFacts;
  readonly OutcomeTarget: Fields<OutcomeTarget>;
}

/** Of several kinds: all that any of them has. */
interface Fields<T extends { readonly kind: string }> {
  readonly kind: T["kind"];
  readonly url?: string;
  readonly function?: FunctionName;
  readonly subject?: string;
}

type Untold = NonNullable<CallRecord["untold"]>;

/** A record whose outcome's target is written as `Fields`. */
interface FlatRecord extends Omit<CallRecord, "untold"> {
  readonly untold?: Omit<Untold, "target"> & { readonly target: Fields<OutcomeTarget> };
}

const headers = { ...listOf(string()), description: "Names and values in turn, in the order sent" };
const inFlight = whole("Calls in it now, slots held for callers included");
const slots = whole("Calls it takes at a time; 0: no limit");

const replicaRecord = object(
  {
    id: string(),
    state: { enum: [...replicaStates] },
    revision: string({ description: "ce-id of the wish that made this replica's spec" }),
    since: time("When it came into this state"),
  },
  { node: string({ description: "The machine that it runs on, where there are several" }) },
);

const problem = object(
  { message: string(), at: time("When it was met"), failures: whole("Failed starts in a row") },
  { nextTryAt: time("When the next start is tried") },
);

const scaleDecision = object({
  at: time("When it was made"),
  from: whole("Replicas wished for until then"),
  replicas: whole("Replicas wished for by it"),
  rule: string({ description: "The rule that it was made by" }),
  because: string({ description: "That rule as a sentence" }),
  numbers: { ...mapOf(amount("An amount")), description: "What it rests on, by name, its unit included" },
});

const warnings = {
  ...listOf(string()),
  description: "What the wish asks for and where it runs is not done, a sentence each",
};

const error = object({ code: string({ description: "A code of the error catalogue" }), message: string() });

const functionName = object({ namespace: string(), name: string() });

const outcomeTarget = object(
  { kind: { enum: ["url", "function", "subject"] } },
  { url: string(), function: functionName, subject: string() },
);

const keptBody = object(
  { bytes: whole("Length"), place: { enum: ["here", "payload", "parts", "none"] } },
  { name: string({ description: "Of a payload: its name; of parts: the attempt's number" }) },
);

const moment = (description: string): JsonSchema => amount(`${description}, milliseconds since the epoch`);

const attempt = object(
  { number: whole("1, 2, 3 …", 1), startedMs: moment("When it began") },
  {
    endedMs: moment("When it ended"),
    status: whole("What the function answered", 100),
    error,
    isFree: { type: "boolean", description: "The function was never reached: it does not count" },
  },
);

const links = {
  callbackUrl: string(),
  parent: string({ description: "The call whose outcome this one was made from" }),
  replayOf: string({ description: "The call that this one runs again" }),
};

/** The JSON Schema of each. */
export const wireSchemas: Readonly<Record<keyof WireData, JsonSchema>> = {
  RequestHead: object(
    {
      method: string(),
      path: string({ description: "Rest of the path below the function's name with its query, beginning with /" }),
      headers,
    },
    { upgrade: { const: "websocket", description: "The connection is to become a WebSocket, if the answer is 101" } },
  ),
  ResponseHead: object({ status: whole("HTTP status; 101 only in answer to an upgrade", 100), headers }),
  ReplicaLoad: object({ replica: string({ description: "The replica's id" }), inFlight, slots }),
  FunctionRecord: object(
    {
      spec: functionSpecSchema,
      replicas: whole("Replicas wished for now"),
      revision: string({ description: "Id of the wish that made this spec" }),
      createdAt: time("When the function was first deployed"),
      updatedAt: time("When its wish was last changed"),
    },
    {
      scaledBecause: string({
        description: "Why the scaler has wished for this count; absent where somebody else did",
      }),
    },
  ),
  FunctionStatusRecord: object(
    { replicas: listOf(replicaRecord) },
    {
      warnings,
      cores: amount("Cores of all machines that functions run on; absent while they are not known"),
      problem,
    },
  ),
  SecretRecord: object({
    name: string(),
    namespace: string(),
    sealed: sealedBoxSchema,
    version: whole("How many values it has had, this one included", 1),
    createdAt: time("When the secret was created"),
    updatedAt: time("When it got this value"),
  }),
  SecretAnswer: object(
    {},
    {
      names: { ...listOf(string()), description: "The names there are, sorted: of list only" },
      error,
    },
  ),
  EnrolAnswer: object(
    {},
    {
      launch: { ...sealedBoxSchema, description: "The replica's launch as JSON, sealed for the key it sent" },
      waitMs: whole("The function has failed of late: ask again after so many milliseconds"),
      error,
    },
  ),
  CallRecord: object(
    {
      id: string(),
      function: functionName,
      state: { enum: [...recordStates] },
      priority: { enum: [...priorities] },
      queuedMs: moment("When it was accepted"),
      attempts: listOf(attempt),
    },
    {
      runAtMs: moment("When it is due for the first time"),
      nextMs: moment("Of retrying: when the next attempt is due"),
      endedMs: moment("When it ended"),
      expiresMs: moment("When this record may go"),
      error,
      ...links,
      traceparent: string(),
      tracestate: string(),
      request: object(
        {
          head: object({ method: string(), path: string(), headers }, { upgrade: { const: "websocket" } }),
          body: keptBody,
        },
        { contentType: string() },
      ),
      response: object({ status: whole("HTTP status", 100), headers, body: keptBody }),
      isSynchronous: { const: true },
      untold: object({
        target: outcomeTarget,
        call: object({ id: string(), state: { enum: [...recordStates] } }, { error, parent: links.parent }),
      }),
    },
  ),
  DurableFacts: object(
    { queuedMs: moment("When it was accepted") },
    { runAtMs: moment("Not before then"), ...links, payload: keptBody },
  ),
  ScaleExplanation: object({}, { latest: scaleDecision, lastChange: scaleDecision, error }),
  OutcomeTarget: outcomeTarget,
  BundleAnswer: object(
    {},
    {
      part: string({ description: "Bytes of the archive from the offset on, base64" }),
      size: whole("Bytes of the whole archive"),
      error,
    },
  ),
};

/** What a replica is told on its control subject and its order subject. */
export type ReplicaMessage = ReplicaControl | ReplicaOrder;

const control = (
  kind: ReplicaMessage["kind"],
  description: string,
  more: Readonly<Record<string, JsonSchema>> = {},
): JsonSchema => ({
  ...object({ kind: { const: kind }, ...more }),
  description,
});

/** The JSON Schema of what a replica is told, by kind. */
export const controlSchemas: Readonly<Record<ReplicaMessage["kind"], JsonSchema>> = {
  drain: control("drain", "Finish what is in flight, take nothing new, exit"),
  freeze: control("freeze", "Finish what is in flight, take nothing new, announce frozen with this number", {
    number: whole("Tells this order from others to the same replica"),
  }),
  resume: control("resume", "Take calls again, and announce ready"),
  renew: control("renew", "The user JWT that follows the one in use, for the same key", { jwt: string() }),
  secret: control("secret", "A secret's newer value, for a replica that got its secrets with its launch", {
    name: string(),
    version: whole("Without effect unless it is larger than that of the value which the replica has"),
    box: string(),
  }),
  cancel: control("cancel", "The caller no longer wants this call's answer", { callId: string() }),
  ping: control("ping", "Are you there? Answered with a ReplicaLoad; a replica that is gone is no responders"),
  reserve: control("reserve", "Offer me one slot at this message's reply subject when you have one", {
    since: whole("Since when my oldest call waits, milliseconds since the epoch"),
  }),
  withdraw: control("withdraw", "I no longer wait; the reply subject is the one that reserved"),
};
