import type { CallError } from "../../schemas/call.ts";
import type { CallChange, FinishedCall } from "../../schemas/events.ts";
import type { CallKind, ListedState } from "../../schemas/listed-states.ts";
import { formatFunctionName } from "../../schemas/names.ts";
import { type DurableCallState, durableCallStates, parseFunctionSubject } from "../../schemas/subjects.ts";
import type { StreamMessage } from "../bus/streams.ts";
import type { CallFilter } from "./calls-query.ts";
import { readFinishedCalls } from "./told-by-replicas.ts";

/** A call as a list shows it: by the newest that is known of it. */
export interface ListedCall {
  readonly id: string;
  /** `name.namespace`. */
  readonly function: string;
  readonly kind: CallKind;
  readonly state: ListedState;
  /** RFC 3339: when it changed last; of a synchronous one, when it ended. */
  readonly at: string;
  /** Attempts begun. */
  readonly attempts: number;
  readonly status?: number;
  readonly error?: CallError;
  /** Of the latest attempt that ended. */
  readonly durationSeconds?: number;
  /** RFC 3339: when the next attempt is due. */
  readonly nextAttemptAt?: string;
  readonly parent?: string;
  readonly replayOf?: string;
}

/** One change of a call, and its place among the changes of that call. */
export interface SeenChange {
  readonly call: ListedCall;
  /** Grows along a call's life: events of one call may be stored in another order than they happened. */
  readonly rank: number;
}

const stateOf: Readonly<Record<DurableCallState, ListedState>> = {
  queued: "queued",
  started: "running",
  retrying: "retrying",
  succeeded: "succeeded",
  dead: "dead",
  cancelled: "cancelled",
};

const rankOf = (state: DurableCallState, { attempts }: CallChange): number => {
  if (state === "queued") return 0;
  if (state === "started") return 2 * attempts;
  return state === "retrying" ? 2 * attempts + 1 : Number.POSITIVE_INFINITY;
};

const isoOf = (ms: number): string => new Date(ms).toISOString();

const nameOf = (subject: string): string => {
  const name = parseFunctionSubject(subject, 2);
  return name ? formatFunctionName(name) : "";
};

const changedCall = (name: string, state: DurableCallState, change: CallChange): ListedCall => ({
  id: change.id,
  function: name,
  kind: "durable",
  state: stateOf[state],
  at: isoOf(change.atMs),
  attempts: change.attempts,
  ...(change.status === undefined ? {} : { status: change.status }),
  ...(change.error === undefined ? {} : { error: change.error }),
  ...(change.durationMs === undefined ? {} : { durationSeconds: change.durationMs / 1000 }),
  ...(change.nextMs === undefined ? {} : { nextAttemptAt: isoOf(change.nextMs) }),
  ...(change.parent === undefined ? {} : { parent: change.parent }),
  ...(change.replayOf === undefined ? {} : { replayOf: change.replayOf }),
});

/** A finished synchronous call as a list shows it. */
export const finishedCall = (name: string, { id, status, startedMs, durationMs }: FinishedCall): ListedCall => ({
  id,
  function: name,
  kind: "sync",
  state: status < 400 ? "succeeded" : "failed",
  at: isoOf(startedMs + durationMs),
  attempts: 1,
  status,
  durationSeconds: durationMs / 1000,
});

const parse = <T>({ data }: StreamMessage): T => JSON.parse(Buffer.from(data).toString("utf8")) as T;

/** What a message of stream CALLS or RECORD says of calls, each in the order told. */
export const readChanges = (message: StreamMessage): readonly SeenChange[] => {
  const name = nameOf(message.subject);
  const word = message.subject.split(".")[2];
  const state = durableCallStates.find((known) => known === word) as DurableCallState | undefined;
  if (state !== undefined) {
    const change = parse<CallChange>(message);
    return [{ call: changedCall(name, state, change), rank: rankOf(state, change) }];
  }
  return readFinishedCalls(message).map((call) => ({ call: finishedCall(name, call), rank: Number.POSITIVE_INFINITY }));
};

/** Whether a call is among those asked for. */
export const isAskedFor = (call: ListedCall, filter: CallFilter): boolean =>
  (filter.state === undefined || call.state === filter.state) &&
  (filter.kind === undefined || call.kind === filter.kind) &&
  (filter.function === undefined || call.function === formatFunctionName(filter.function));
