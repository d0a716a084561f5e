import type { IncomingMessage } from "node:http";
import { type FunctionName, formatFunctionName } from "../../schemas/names.ts";
import type { SpanAttributes } from "../../schemas/span.ts";
import { parseTraceparent, withTraceHeaders } from "../../schemas/trace-context.ts";
import type { OpenSpan } from "../runtime/spans.ts";
import type { Tracing } from "../runtime/tracing.ts";
import type { CallHead } from "./http-head.ts";

/** One request for a function, as its spans see it. */
export interface RequestTrace {
  /** The call as it goes on: caused by this request. */
  readonly call: CallHead;
  /** The call is on its way to a replica: to be told of each that it is sent to. */
  readonly dispatch: () => ((replica: string) => void) | undefined;
  /** The request is over; 499: its client went away before. */
  readonly end: (status: number) => void;
}

/** What is traced. */
export interface TracedRequest {
  readonly request: IncomingMessage;
  readonly call: CallHead;
  readonly function: FunctionName;
  /** Path of the route, the function's name left out. */
  readonly route: string;
}

const clientGone = 499;

const clientOf = ({ headers, socket }: IncomingMessage): string =>
  headers["x-forwarded-for"]?.toString().split(",", 1)[0]?.trim() || (socket.remoteAddress ?? "");

const describe = ({ request, call, function: name, route }: TracedRequest): SpanAttributes => {
  const { host, "user-agent": agent } = request.headers;
  return {
    "http.request.method": call.head.method,
    "http.route": route,
    // Without its query, in which there may be secrets.
    "url.path": (request.url ?? "/").split("?", 1)[0] ?? "/",
    "url.scheme": "http",
    "network.protocol.version": request.httpVersion,
    "client.address": clientOf(request),
    ...(host === undefined ? {} : { "server.address": host.replace(/:\d+$/, "") }),
    ...(agent === undefined ? {} : { "user_agent.original": agent.slice(0, 256) }),
    "faas.invoked_name": formatFunctionName(name),
    "faas.invoked_provider": "busker",
    "faas.invocation.id": call.callId,
  };
};

const endOf = (span: OpenSpan, status: number): void => {
  const isGone = status === clientGone;
  const error = isGone ? "client_gone" : status >= 500 ? String(status) : undefined;
  span.describe({
    ...(isGone ? {} : { "http.response.status_code": status }),
    ...(error === undefined ? {} : { "error.type": error }),
  });
  span.end({ error });
};

/** From when a call looks for a replica until it is bound to one: its line, and the bind. */
const openDispatch = (span: OpenSpan): { readonly bound: (replica: string) => void; readonly end: () => void } => {
  const waiting = span.child({ name: "dispatch", kind: "internal" });
  let endMs: number | undefined;
  let sent = 0;
  return {
    bound: (replica) => {
      endMs = span.nowMs();
      sent += 1;
      waiting.describe({ "busker.replica": replica, "busker.sent": sent });
    },
    end: () => waiting.end(endMs === undefined ? { error: "not_sent" } : { endMs }),
  };
};

/** Begins to trace a request. */
export const traceRequest = (tracing: Tracing, traced: TracedRequest): RequestTrace => {
  const { call, route } = traced;
  const span = tracing.begin({
    name: `${call.head.method} ${route}`,
    kind: "server",
    parent: parseTraceparent(call.traceparent),
  });
  const { isSampled } = span.context;
  // Where there are many calls, most are not sampled: those pass on where they stand, and cost nothing else.
  if (isSampled) span.describe(describe(traced));
  const trace = { traceparent: span.traceparent, tracestate: call.tracestate };
  let dispatch: ReturnType<typeof openDispatch> | undefined;
  return {
    call: { ...call, ...trace, head: { ...call.head, headers: withTraceHeaders(call.head.headers, trace) } },
    dispatch: () => {
      if (isSampled) dispatch = openDispatch(span);
      return dispatch?.bound;
    },
    end: (status) => {
      if (!isSampled) return;
      dispatch?.end();
      endOf(span, status);
    },
  };
};
