import type { CallRecord } from "../../schemas/call.ts";
import { formatFunctionName } from "../../schemas/names.ts";
import { asyncSubject } from "../../schemas/subjects.ts";
import { parseTraceparent, type TraceHeaders } from "../../schemas/trace-context.ts";
import type { DurableCall } from "../bus/durable-call.ts";
import type { Tracing } from "../runtime/tracing.ts";
import type { AttemptResult } from "./run-attempt.ts";

/** One attempt at a durable call, as its spans see it. */
export interface AttemptTrace {
  /** What the attempt is caused by, for the function. */
  readonly headers: TraceHeaders;
  readonly bound: () => void;
  readonly end: (result: AttemptResult) => void;
}

/** What is traced. */
export interface TracedAttempt {
  readonly call: DurableCall;
  readonly number: number;
  /** As it stands before the attempt. */
  readonly record: CallRecord;
}

const failureOf = (result: AttemptResult): string | undefined => {
  if (result.kind === "stopped") return "cancelled";
  if (result.kind === "failed") return result.error.code;
  return result.head.status >= 400 ? String(result.head.status) : undefined;
};

/** From when on the call was in the queue before this attempt: since it was accepted, or since the attempt before. */
const queuedSince = ({ attempts, queuedMs }: CallRecord): number => attempts.at(-1)?.endedMs ?? queuedMs;

/**
 * Begins to trace an attempt. What the call waited before is a span of its own, beside it; the wait for a replica is one within it.
 * All attempts at a call have the same cause: whoever had it accepted.
 */
export const traceAttempt = (tracing: Tracing, { call, number, record }: TracedAttempt): AttemptTrace => {
  const name = formatFunctionName(call.function);
  const attributes = {
    "messaging.system": "nats",
    "messaging.destination.name": asyncSubject(call.function.namespace, call.function.name),
    "messaging.message.id": call.id,
    "faas.invocation.id": call.id,
    "faas.invoked_name": name,
    "faas.invoked_provider": "busker",
    "busker.attempt": number,
  };
  const span = tracing.begin({
    name: `process ${name}`,
    kind: "consumer",
    parent: parseTraceparent(call.traceparent),
    attributes: { ...attributes, "messaging.operation.type": "process", "messaging.operation.name": "process" },
  });
  const sinceMs = queuedSince(record);
  span
    .sibling({
      name: `queue ${name}`,
      kind: "consumer",
      startMs: sinceMs,
      attributes: { ...attributes, "messaging.operation.type": "receive", "messaging.operation.name": "queue" },
    })
    .end();
  const waiting = span.child({ name: "dispatch", kind: "internal" });
  let isBound = false;
  return {
    headers: { traceparent: span.traceparent, tracestate: call.tracestate },
    bound: () => {
      isBound = true;
      // When it is sent again, somebody else had been faster: that wait is not seen in the trace.
      waiting.end();
    },
    end: (result) => {
      if (!isBound) waiting.end({ error: "not_sent" });
      const error = failureOf(result);
      span.describe({
        ...(result.kind === "answered" ? { "http.response.status_code": result.head.status } : {}),
        ...(error === undefined ? {} : { "error.type": error }),
      });
      span.end({ error });
    },
  };
};
