import { type CallError, type KeptBody, maxBodyHereBytes } from "../../schemas/call.ts";
import { findHeader } from "../../schemas/call-options.ts";
import { BuskerError } from "../../schemas/errors.ts";
import { maxTimeoutMs } from "../../schemas/function.ts";
import type { ResponseHead } from "../../schemas/invocation.ts";
import { maxStreamHeaderBytes } from "../../schemas/topology.ts";
import { type TraceHeaders, withTraceHeaders } from "../../schemas/trace-context.ts";
import type { AcknowledgedPublisher } from "../bus/acknowledged.ts";
import type { DurableCall } from "../bus/durable-call.ts";
import type { Invocation, Invoker } from "../bus/invoker.ts";
import type { ObjectStore } from "../bus/objects.ts";
import type { CallResult } from "../bus/open-call.ts";
import { collectOrPart } from "../bus/result-parts.ts";
import { writeParts } from "../bus/write-parts.ts";

/** What attempts need. */
export interface AttemptParts {
  readonly invoker: Pick<Invoker, "invoke">;
  readonly acknowledged: AcknowledgedPublisher;
  readonly payloads: Pick<ObjectStore, "get">;
  /** The largest response that is kept. */
  readonly maxResultBytes: number;
}

/** Who hears of one attempt. */
export interface AttemptWatch {
  readonly number: number;
  /** Attempts that there may be. */
  readonly allowed: number;
  /** What the attempt is caused by; absent: what the call is. */
  readonly trace?: TraceHeaders | undefined;
  /** Ends the attempt: the function's work is stopped. */
  readonly signal: AbortSignal;
  /** The call was sent to a replica. */
  readonly onBound: () => void;
  /** The response is being written in parts, of which the head is there. */
  readonly onParts: (head: ResponseHead) => void;
}

/** How an attempt ended. */
export type AttemptResult =
  /** `body` is empty where it is kept elsewhere. */
  | { readonly kind: "answered"; readonly head: ResponseHead; readonly kept: KeptBody; readonly body: Uint8Array }
  | { readonly kind: "failed"; readonly error: CallError }
  /** The signal ended it. */
  | { readonly kind: "stopped" };

// A response that is written in parts has them as one header, and there are a few others.
const mostHeadBytes = maxStreamHeaderBytes - 4096;

const none = new Uint8Array();

const failed = ({ code, message }: BuskerError): AttemptResult => ({ kind: "failed", error: { code, message } });

const answered = (head: ResponseHead, body: Uint8Array): AttemptResult => ({
  kind: "answered",
  head,
  kept: { bytes: body.length, place: "here" },
  body,
});

const headersOf = ({ id, head }: DurableCall, { number, allowed, trace }: AttemptWatch): readonly string[] => [
  ...(trace ? withTraceHeaders(head.headers, trace) : head.headers),
  ...(findHeader(head.headers, "X-Call-Id") === undefined ? ["X-Call-Id", id] : []),
  ...(number === 1 ? [] : ["X-Retry", String(number - 1), "X-Retry-Max", String(allowed - 1)]),
];

/** The body as it is kept, told to `onFault` when it cannot be read. */
const readPayload = async function* (
  { payloads }: AttemptParts,
  name: string,
  onFault: (cause: unknown) => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    yield* await payloads.get(name);
  } catch (cause) {
    onFault(cause);
    throw cause;
  }
};

const uploadOf = (
  parts: AttemptParts,
  { payload }: DurableCall,
  onFault: (cause: unknown) => void,
): Invocation["upload"] => {
  const name = payload?.name;
  return name === undefined ? undefined : (sink) => void writeParts(readPayload(parts, name, onFault), sink);
};

const invocationOf = (
  parts: AttemptParts,
  call: DurableCall,
  watch: AttemptWatch,
  onFault: (cause: unknown) => void,
): Invocation => ({
  function: call.function,
  callId: call.id,
  head: { ...call.head, headers: headersOf(call, watch) },
  contentType: call.contentType,
  traceparent: call.traceparent,
  tracestate: call.tracestate,
  ...watch.trace,
  body: call.body,
  upload: uploadOf(parts, call, onFault),
  // To wait in line is not the function's time, which its replica measures from when it takes the call.
  deadlineMs: Date.now() + maxTimeoutMs,
  canStream: true,
  isRecorded: true,
  onBound: watch.onBound,
});

// A replica of another version may send any size whole.
const asStream = (result: Extract<CallResult, { readonly kind: "answered" }>) => ({
  ...result,
  kind: "streaming" as const,
  rest: { listen: ({ onEnd }: { onEnd: () => void }) => queueMicrotask(onEnd), consumed: () => {} },
});

const assertHead = ({ headers }: ResponseHead): void => {
  const bytes = Buffer.byteLength(JSON.stringify(headers));
  if (bytes > mostHeadBytes)
    throw new BuskerError(
      "response_too_large",
      `the headers of the function's response are ${bytes} bytes together; at most ${mostHeadBytes} are kept`,
    );
};

/** Makes one attempt at a call, and keeps what the function answers. Never rejects. */
export const runAttempt = (parts: AttemptParts, call: DurableCall, watch: AttemptWatch): Promise<AttemptResult> =>
  new Promise((resolve) => {
    const { signal } = watch;
    let cancel = (): void => {};
    let abortParts: (error: BuskerError) => void = () => {};
    const settle = (result: AttemptResult): void => {
      signal.removeEventListener("abort", stop);
      resolve(result);
    };
    const stop = (): void => {
      cancel();
      abortParts(new BuskerError("cancelled", "the call was stopped in the middle of its response"));
      settle({ kind: "stopped" });
    };
    const keep = async (result: Extract<CallResult, { readonly kind: "streaming" }>): Promise<AttemptResult> => {
      const { head } = result.reply;
      const response = { id: call.id, attempt: watch.number, result, maxBytes: parts.maxResultBytes, cancel };
      const kept = await collectOrPart(parts.acknowledged, response);
      if (kept.kind === "whole") return answered(head, kept.body);
      if (kept.kind === "broken") return failed(kept.error);
      abortParts = kept.abort;
      watch.onParts(head);
      const end = await kept.ended;
      if (end.kind === "broken") return failed(end.error);
      const where = { bytes: end.bytes, place: "parts" as const, name: String(watch.number) };
      return { kind: "answered", head, kept: where, body: none };
    };
    const take = async (result: CallResult): Promise<AttemptResult> => {
      if (result.kind === "failed") return failed(result.error);
      const { error, head } = result.reply;
      if (result.kind === "answered" && error !== undefined)
        return failed(new BuskerError(error, Buffer.from(result.body).toString("utf8").trim()));
      assertHead(head);
      if (result.kind === "streaming") return keep(result);
      return result.body.length > maxBodyHereBytes ? keep(asStream(result)) : answered(head, result.body);
    };
    if (signal.aborted) return settle({ kind: "stopped" });
    signal.addEventListener("abort", stop, { once: true });
    const fail = (cause: unknown): void => {
      cancel();
      settle(failed(cause instanceof BuskerError ? cause : new BuskerError("internal", String(cause), { cause })));
    };
    cancel = parts.invoker.invoke(invocationOf(parts, call, watch, fail), (result) => {
      take(result).then(settle, fail);
    });
  });
