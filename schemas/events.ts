import type { CallError } from "./call.ts";
import type { BundleRequest, EnrolRequest } from "./enrolment.ts";
import type { ErrorCode } from "./errors.ts";
import type { FunctionSpec } from "./function.ts";
import { functionSpecSchema } from "./function-schema.ts";
import { amount, type JsonSchema, listOf, object, string, time, whole } from "./json-schema.ts";
import { type LoadMinute, loadMinuteSchema } from "./load.ts";
import { type SampleData, sampleSchemas } from "./sample.ts";
import type { SealedBox } from "./secret.ts";
import { sealedBoxSchema } from "./secret-schema.ts";
import {
  type DurableCallState,
  outcomeVerbs,
  priorities,
  type Priority,
  replicaStates,
  type SecretOutcomeVerb,
  type SecretRequestVerb,
  wishVerbs,
  type WishVerb,
} from "./subjects.ts";

/** Data of `deploy` and `update`. */
export interface DeployWish {
  readonly spec: FunctionSpec;
}

/** Data of `scale`. */
export interface ScaleWish {
  readonly replicas: number;
  /** Only if as many replicas are wished for until then: what was decided by another count is refused as a conflict. */
  readonly from?: number;
  /** Why, where the scaler wishes it: such a count it changes again, one that somebody else has set it leaves for a while. */
  readonly reason?: string;
}

/** Data of `remove`: nothing but the subject's names. */
export type RemoveWish = Readonly<Record<string, never>>;

/** Data of `deployed`, `updated`, `removed` and `scaled`. */
export interface Outcome {
  /** `ce-id` of the wish. */
  readonly wish: string;
  readonly replicas: number;
  /** Replicas that answer by now. */
  readonly availableReplicas: number;
}

/** Data of `failed`. */
export interface FailedOutcome {
  readonly wish: string;
  readonly verb: WishVerb;
  readonly code: ErrorCode;
  readonly message: string;
}

/** Data of `progress`: a sentence for a person, about a second apart. */
export interface Progress {
  /** `ce-id` of the wish. */
  readonly wish: string;
  readonly message: string;
}

/** Data of `secret.create` and `secret.update`. No message ever holds the value itself. */
export interface SecretWish {
  readonly name: string;
  readonly sealed: SealedBox;
}

/** Data of `secret.remove`. */
export interface SecretRemoval {
  readonly name: string;
}

/** Data of `secret.created`, `secret.updated` and `secret.removed`: neither value nor sealed value. */
export interface SecretOutcome {
  /** `ce-id` of the request. */
  readonly wish: string;
  readonly name: string;
}

/** Data of every `busker.replica.…` event. */
export interface ReplicaEvent {
  readonly revision: string;
  /** Calls it takes at a time; 0: no limit. */
  readonly slots: number;
  readonly inFlight: number;
  /** Why it exited, where it did not do so on a wish. */
  readonly reason?: string;
  /** Of `frozen`: the number of the order that it followed. */
  readonly order?: number;
}

/** Data of `demand`. */
export interface Demand {
  /** Calls that wait at this caller. */
  readonly waiting: number;
}

/** One line of a function's output. */
export interface LogLine {
  /** RFC 3339 with milliseconds. */
  readonly at: string;
  readonly stream: "stdout" | "stderr";
  readonly text: string;
  readonly callId?: string;
}

/** Data of a log event: lines in the order written. */
export interface LogLines {
  readonly lines: readonly LogLine[];
}

/** One finished synchronous call. */
export interface FinishedCall {
  readonly id: string;
  readonly status: number;
  /** Milliseconds since the epoch. */
  readonly startedMs: number;
  readonly durationMs: number;
}

/** Data of `busker.call.done`: what one replica finished in the last quarter of a second. */
export interface FinishedCalls {
  readonly replica: string;
  readonly calls: readonly FinishedCall[];
}

/** Data of every `busker.call.…` event of a durable call. */
export interface CallChange {
  readonly id: string;
  /** Milliseconds since the epoch. */
  readonly atMs: number;
  /** Attempts begun by then. */
  readonly attempts: number;
  /** HTTP status of the attempt that ended. */
  readonly status?: number;
  /** Why it failed, where no status says so. */
  readonly error?: CallError;
  /** Of `started`: how long it was queued, from when it was due, in milliseconds. */
  readonly waitedMs?: number;
  /** How long the attempt that ended took, in milliseconds. */
  readonly durationMs?: number;
  /** Of `retrying`, and of `queued` for later: when the next attempt is due, milliseconds since the epoch. */
  readonly nextMs?: number;
  /** Of `queued`: the call whose outcome this one was made from. */
  readonly parent?: string;
  /** Of `queued`: the call that this one runs again. */
  readonly replayOf?: string;
  /** Of `queued`: among which of its function's calls. */
  readonly priority?: Priority;
}

/** Data of `cancel`. */
export interface Cancellation {
  readonly id: string;
}

/** What each type of event carries as its data. */
export interface EventData extends SampleData {
  "io.busker.function.deploy": DeployWish;
  "io.busker.function.update": DeployWish;
  "io.busker.function.remove": RemoveWish;
  "io.busker.function.scale": ScaleWish;
  "io.busker.function.deployed": Outcome;
  "io.busker.function.updated": Outcome;
  "io.busker.function.removed": Outcome;
  "io.busker.function.scaled": Outcome;
  "io.busker.function.failed": FailedOutcome;
  "io.busker.function.progress": Progress;
  "io.busker.secret.create": SecretWish;
  "io.busker.secret.update": SecretWish;
  "io.busker.secret.remove": SecretRemoval;
  "io.busker.secret.list": Readonly<Record<string, never>>;
  "io.busker.secret.created": SecretOutcome;
  "io.busker.secret.updated": SecretOutcome;
  "io.busker.secret.removed": SecretOutcome;
  "io.busker.enrol": EnrolRequest;
  "io.busker.bundle": BundleRequest;
  "io.busker.replica.starting": ReplicaEvent;
  "io.busker.replica.ready": ReplicaEvent;
  "io.busker.replica.draining": ReplicaEvent;
  "io.busker.replica.frozen": ReplicaEvent;
  "io.busker.replica.exited": ReplicaEvent;
  "io.busker.demand": Demand;
  "io.busker.scaler.explain": Readonly<Record<string, never>>;
  "io.busker.load": LoadMinute;
  "io.busker.log": LogLines;
  "io.busker.call.queued": CallChange;
  "io.busker.call.started": CallChange;
  "io.busker.call.retrying": CallChange;
  "io.busker.call.succeeded": CallChange;
  "io.busker.call.dead": CallChange;
  "io.busker.call.cancelled": CallChange;
  "io.busker.call.done": FinishedCalls;
  "io.busker.cancel": Cancellation;
}

/** A type of event whose data is JSON of a known shape. Invocations and replies carry whatever the caller sends. */
export type EventType = keyof EventData;

/** The CloudEvents type of an invocation, synchronous or durable. */
export const invokeType = "io.busker.invoke";

/** The CloudEvents type of the reply to an invocation. */
export const replyType = "io.busker.reply";

/** The CloudEvents type of a call's record. */
export const callRecordType = "io.busker.call.record";

const outcome = object({
  wish: string({ description: "ce-id of the wish" }),
  replicas: whole("Replicas wished for"),
  availableReplicas: whole("Replicas that answer by now"),
});

const deployWish = object({ spec: functionSpecSchema });

const secretName = string({ description: "The secret's name" });

const secretWish = object({ name: secretName, sealed: sealedBoxSchema });

const secretOutcome = object({ wish: string({ description: "ce-id of the request" }), name: secretName });

const replica = object(
  {
    revision: string({ description: "ce-id of the wish that made this replica's spec" }),
    slots: whole("Calls it takes at a time; 0: no limit"),
    inFlight: whole("Calls in it now"),
  },
  {
    reason: string({ description: "Why it exited, where it did not do so on a wish" }),
    order: whole("Of frozen: the number of the order that it followed"),
  },
);

const callChange = object(
  {
    id: string({ description: "The call id" }),
    atMs: amount("Milliseconds since the epoch"),
    attempts: whole("Attempts begun by then"),
  },
  {
    status: whole("HTTP status of the attempt that ended", 100),
    error: object({
      code: string({ description: "A code of the error catalogue" }),
      message: string({ description: "Why it failed" }),
    }),
    waitedMs: amount("Of started: how long it was queued, from when it was due, in milliseconds"),
    durationMs: amount("How long the attempt that ended took, in milliseconds"),
    nextMs: amount("When the next attempt is due, milliseconds since the epoch"),
    parent: string({ description: "Of queued: the call whose outcome this one was made from" }),
    replayOf: string({ description: "Of queued: the call that this one runs again" }),
    priority: { enum: [...priorities], description: "Of queued: among which of its function's calls" },
  },
);

/** The JSON Schema of each type's data. */
export const eventSchemas: Readonly<Record<EventType, JsonSchema>> = {
  "io.busker.function.deploy": deployWish,
  "io.busker.function.update": deployWish,
  "io.busker.function.remove": object({}),
  "io.busker.function.scale": object(
    { replicas: whole("Replicas wished for") },
    {
      from: whole("Only if as many are wished for until then"),
      reason: string({ description: "Why, where the scaler wishes it" }),
    },
  ),
  "io.busker.function.deployed": outcome,
  "io.busker.function.updated": outcome,
  "io.busker.function.removed": outcome,
  "io.busker.function.scaled": outcome,
  "io.busker.function.failed": object({
    wish: string({ description: "ce-id of the wish" }),
    verb: { enum: [...wishVerbs] },
    code: string({ description: "A code of the error catalogue" }),
    message: string({ description: "What could not be done, and why" }),
  }),
  "io.busker.function.progress": object({
    wish: string({ description: "ce-id of the wish" }),
    message: string({ description: "How far it is, for a person" }),
  }),
  "io.busker.secret.create": secretWish,
  "io.busker.secret.update": secretWish,
  "io.busker.secret.remove": object({ name: secretName }),
  "io.busker.secret.list": object({}),
  "io.busker.secret.created": secretOutcome,
  "io.busker.secret.updated": secretOutcome,
  "io.busker.secret.removed": secretOutcome,
  "io.busker.enrol": object({
    task: string({ description: "What the backend calls the replica: the id of a Swarm task" }),
    key: string({
      description: "Public half of the replica's own X25519 key pair, base64; the launch is sealed for it",
    }),
    ticket: string({ description: "What the replica was given for the provider" }),
  }),
  "io.busker.bundle": object({
    ticket: string({ description: "What the replica was given for the provider; it says which bundle" }),
    offset: whole("First byte of the part in the archive"),
  }),
  "io.busker.replica.starting": replica,
  "io.busker.replica.ready": replica,
  "io.busker.replica.draining": replica,
  "io.busker.replica.frozen": replica,
  "io.busker.replica.exited": replica,
  "io.busker.scaler.explain": object({}),
  "io.busker.demand": object({ waiting: whole("Calls that wait at this caller", 1) }),
  ...sampleSchemas,
  "io.busker.load": loadMinuteSchema,
  "io.busker.log": object({
    lines: listOf(
      object(
        { at: time("When it was read"), stream: { enum: ["stdout", "stderr"] }, text: string() },
        { callId: string({ description: "The call that wrote it, where known" }) },
      ),
    ),
  }),
  "io.busker.call.queued": callChange,
  "io.busker.call.started": callChange,
  "io.busker.call.retrying": callChange,
  "io.busker.call.succeeded": callChange,
  "io.busker.call.dead": callChange,
  "io.busker.call.cancelled": callChange,
  "io.busker.cancel": object({ id: string({ description: "The call id" }) }),
  "io.busker.call.done": object({
    replica: string(),
    calls: listOf(
      object({
        id: string({ description: "The call id" }),
        status: whole("HTTP status", 100),
        startedMs: amount("Milliseconds since the epoch"),
        durationMs: amount("Milliseconds"),
      }),
    ),
  }),
};

/** The event type of a verb or state on the bus. */
export const functionEventType = <V extends (typeof wishVerbs)[number] | (typeof outcomeVerbs)[number]>(
  verb: V,
): `io.busker.function.${V}` => `io.busker.function.${verb}`;

/** The event type of a request about secrets, or of what was done. */
export const secretEventType = <V extends SecretRequestVerb | SecretOutcomeVerb>(verb: V): `io.busker.secret.${V}` =>
  `io.busker.secret.${verb}`;

/** The event type of a replica's state. */
export const replicaEventType = <S extends (typeof replicaStates)[number]>(state: S): `io.busker.replica.${S}` =>
  `io.busker.replica.${state}`;

/** The event type of a durable call's state. */
export const callEventType = <S extends DurableCallState>(state: S): `io.busker.call.${S}` => `io.busker.call.${state}`;
