import type { CallRecord } from "../../schemas/call.ts";
import { type CallChange, callEventType } from "../../schemas/events.ts";
import type { FunctionName } from "../../schemas/names.ts";
import type { RetryPolicy } from "../../schemas/retry-policy.ts";
import { callSubject } from "../../schemas/subjects.ts";
import type { CallAcceptor } from "../bus/accept-calls.ts";
import type { CallerSamples } from "../bus/caller-samples.ts";
import type { CallRecords } from "../bus/call-records.ts";
import { publishEvent } from "../bus/events.ts";
import type { Tracing } from "../runtime/tracing.ts";
import type { CallFile } from "./call-file.ts";
import type { Cancellations } from "./cancellations.ts";
import type { Delivery, Settlement } from "./delivery.ts";
import type { FinishParts } from "./finish-call.ts";
import type { Functions } from "./functions.ts";
import type { Decision } from "./retry-decision.ts";
import type { AttemptParts } from "./run-attempt.ts";

/** Who counts what happens to calls. */
export interface CallCounter {
  /** An attempt has come to a replica, so long after it was due. */
  readonly bound: (name: FunctionName, waitedMs: number) => void;
  /** An attempt has ended, with what became of the call. */
  readonly attempted: (name: FunctionName, decision: Decision["kind"]) => void;
  /** A call is over. */
  readonly ended: (name: FunctionName, state: CallRecord["state"]) => void;
}

/** What running calls needs. */
export interface RunParts extends FinishParts, AttemptParts {
  readonly acceptor: CallAcceptor;
  readonly records: Pick<CallRecords, "read" | "write">;
  readonly functions: Pick<Functions, "find">;
  readonly cancellations: Cancellations;
  readonly policy: RetryPolicy;
  readonly counter: CallCounter;
  readonly samples: Pick<CallerSamples, "of">;
  /** Absent: nothing is traced. */
  readonly tracing?: Tracing | undefined;
}

/** Another worker has the same call in hand: it has this long to end it before the call is looked at again. */
export const leaveToOther: Settlement = { kind: "retry", delayMs: 30_000 };

/** One call on its way through one delivery. */
export interface Run {
  readonly parts: RunParts;
  readonly delivery: Delivery;
  readonly file: CallFile;
  readonly policy: RetryPolicy;
  readonly ttlMs: number;
  readonly dueMs: number;
  readonly stopping: AbortSignal;
}

/** Tells who watches; the record says it too. */
export const tell = <S extends "started" | "retrying">(
  { parts: { bus }, delivery: { call } }: Run,
  state: S,
  data: CallChange,
): void => {
  if (!bus.isConnected()) return;
  publishEvent(bus, {
    subject: callSubject(state, call.function.namespace, call.function.name),
    type: callEventType(state),
    id: `${call.id}.${state}.${data.attempts}`,
    data,
  });
};
