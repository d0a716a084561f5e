import type { Attempt, CallError, CallRecord, FinalState, KeptBody } from "../../schemas/call.ts";
import { maxResultAgeMs } from "../../schemas/topology.ts";
import type { WholeRecord } from "../bus/call-record-wire.ts";
import type { DurableCall } from "../bus/durable-call.ts";
import { fitRecord } from "./fit-record.ts";
import type { AttemptResult } from "./run-attempt.ts";

/** How a call ends. */
export interface CallEnd {
  readonly call: DurableCall;
  readonly state: FinalState;
  readonly attempts: readonly Attempt[];
  readonly endedMs: number;
  /** How long its record is kept. */
  readonly ttlMs: number;
  readonly error?: CallError | undefined;
  /** Of the last attempt, where it has one. */
  readonly result?: AttemptResult | undefined;
  /** The largest message that the server takes. */
  readonly maxBytes: number;
}

const requestOf = ({ head, contentType, payload, body }: DurableCall): NonNullable<CallRecord["request"]> => {
  const kept: KeptBody = payload ?? { bytes: body.length, place: "here" };
  return { head, ...(contentType === undefined ? {} : { contentType }), body: kept };
};

/** The record of a call that is over: with its request, and with the response if the function has answered last. */
export const finalRecord = (was: CallRecord, end: CallEnd): WholeRecord => {
  const { call, state, attempts, endedMs, ttlMs, error, result } = end;
  const { nextMs: _due, response: _parts, ...rest } = was;
  const answer = result?.kind === "answered" ? result : undefined;
  const record: CallRecord = {
    ...rest,
    state,
    attempts,
    endedMs,
    expiresMs: endedMs + Math.min(ttlMs, maxResultAgeMs),
    ...(error === undefined ? {} : { error }),
    request: requestOf(call),
    ...(answer === undefined ? {} : { response: { ...answer.head, body: answer.kept } }),
  };
  return fitRecord({ record, request: call.body, response: answer?.body ?? new Uint8Array() }, end.maxBytes);
};
