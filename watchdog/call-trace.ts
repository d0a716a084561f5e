import { findHeader } from "../schemas/call-options.ts";
import { isSampled, type SamplingPolicy } from "../schemas/span.ts";
import { parseTraceparent, readTraceHeaders, type TraceHeaders, withTraceHeaders } from "../schemas/trace-context.ts";
import type { BusMessage } from "../services/bus/connection.ts";
import { headerText } from "../services/bus/headers.ts";
import type { ReceivedRequest } from "../services/bus/invocation-wire.ts";
import { readTraceAttributes } from "../services/bus/trace-attributes.ts";
import { newTraceId, OpenSpan, type SpanRecorder, type SpanStart } from "../services/runtime/spans.ts";

/** One call of a replica as its spans see it: the watchdog's, from receipt to answer, and the function's within. */
export interface CallTrace {
  /** The request's headers as the function gets them: what it does itself is caused by its own span. */
  readonly beginFunction: (headers: readonly string[]) => readonly string[];
  /** The function has answered with this status; `error` where the platform and not the function says so. */
  readonly endFunction: (status: number, error: string | undefined) => void;
  /** The call is over, and so is the function's part in it. */
  readonly end: (status: number, error: string | undefined) => void;
}

/** Traces calls. */
export interface CallTracer {
  readonly open: (message: BusMessage, request: ReceivedRequest) => CallTrace;
}

/** Where a call stands, by its event or else by its request. */
const traceOf = (message: BusMessage, { head }: ReceivedRequest): TraceHeaders => {
  const given = readTraceAttributes(headerText(message));
  if (given.traceparent !== undefined) return given;
  return readTraceHeaders(findHeader(head.headers, "traceparent"), findHeader(head.headers, "tracestate"));
};

const functionStart = (name: string, { head }: ReceivedRequest): SpanStart => ({
  name: `${name} function`,
  kind: "internal",
  attributes: { "http.request.method": head.method, "url.path": head.path.split("?", 1)[0] ?? "/" },
});

/** A call has failed by an error of the platform, or by a status that says so (semantic conventions, "HTTP server"). */
const endSpan = (span: OpenSpan | undefined, status: number, code: string | undefined): void => {
  if (!span?.context.isSampled) return;
  const error = code ?? (status >= 500 ? String(status) : undefined);
  span.describe({ "http.response.status_code": status, ...(error === undefined ? {} : { "error.type": error }) });
  span.end({ error });
};

/** Creates what traces the calls of one replica. Calls that are in no trace yet begin one, as the policy says. */
export const createCallTracer = (
  recorder: SpanRecorder,
  { name, policy }: { readonly name: string; readonly policy: SamplingPolicy },
): CallTracer => {
  let isFirst = true;
  const open: CallTracer["open"] = (message, request) => {
    const headers = traceOf(message, request);
    const parent = parseTraceparent(headers.traceparent);
    const traceId = parent?.traceId ?? newTraceId();
    const attributes = {
      "faas.invocation.id": request.callId,
      "faas.trigger": request.isRecorded ? "pubsub" : "http",
      "faas.coldstart": isFirst,
      "messaging.system": "nats",
      "messaging.destination.name": message.subject,
    };
    isFirst = false;
    const span = new OpenSpan(
      recorder,
      { name, kind: "server", attributes },
      { traceId, parentId: parent?.spanId, isSampled: isSampled(policy, traceId, parent) },
    );
    let running: OpenSpan | undefined;
    return {
      beginFunction: (given) => {
        running = span.child(functionStart(name, request));
        return withTraceHeaders(given, { traceparent: running.traceparent, tracestate: headers.tracestate });
      },
      endFunction: (status, error) => endSpan(running, status, error),
      end: (status, error) => {
        endSpan(running, status, error);
        endSpan(span, status, error);
      },
    };
  };
  return { open };
};
