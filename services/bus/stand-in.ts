import type { Msg } from "nats";
import { BuskerError } from "../../schemas/errors.ts";
import type { FunctionName } from "../../schemas/names.ts";
import { invokeSubject, isReplySubject, replicaQueueGroup } from "../../schemas/subjects.ts";
import type { Bus } from "./connection.ts";
import type { CallResult } from "./function-calls.ts";
import { headerText, headerValue } from "./headers.ts";
import { decodeAttribute } from "./cloud-events.ts";
import { decodeRequest, encodeReply, type ReplyParts } from "./invocation-wire.ts";
import type { Invoker } from "./invoker.ts";

/** Whose place is taken. */
export interface StandInOptions {
  readonly function: FunctionName;
  /** The deadline of calls that bring none, counted from their arrival. */
  readonly timeoutMs: number;
}

const plainText = ["Content-Type", "text/plain; charset=utf-8"];

const partsOfFailure = (error: BuskerError): Pick<ReplyParts, "head" | "error"> => ({
  head: { status: error.status, headers: plainText },
  error: error.code,
});

const answer = (bus: Bus, message: Msg, callId: string, result: CallResult): void => {
  // The sender chose this subject, and a service has wider rights than a sender: see isReplySubject.
  if (!message.reply || !isReplySubject(message.reply)) return;
  const common = { callId, source: bus.source, inFlight: 0, slots: 0 };
  if (result.kind === "failed") {
    const headers = encodeReply({ ...common, ...partsOfFailure(result.error) });
    return bus.nc.publish(message.reply, `${result.error.message}\n`, { headers });
  }
  const { head, error } = result.reply;
  bus.nc.publish(message.reply, result.body, { headers: encodeReply({ ...common, head, error }) });
};

const relay = (bus: Bus, invoker: Invoker, options: StandInOptions, message: Msg): void => {
  const request = decodeRequest(message);
  const headers = headerText(message);
  const traceparent = headerValue(headers, "ce-traceparent");
  const contentType = headerValue(headers, "ce-datacontenttype");
  invoker.invoke(
    {
      function: options.function,
      callId: request.callId,
      head: request.head,
      body: request.body,
      deadlineMs: request.deadlineMs ?? Date.now() + options.timeoutMs,
      contentType: contentType && decodeAttribute(contentType),
      traceparent: traceparent && decodeAttribute(traceparent),
    },
    (result) => answer(bus, message, request.callId, result),
  );
};

/**
 * Takes the place of a function's replicas in their queue group, for callers that only know that: keeps each call in
 * the invoker's line until a replica is ready, and passes the answer back (design §3). Gives a function that leaves the
 * place; calls that were taken are still answered.
 */
export const standIn = (bus: Bus, invoker: Invoker, options: StandInOptions): (() => void) => {
  const { namespace, name } = options.function;
  const subscription = bus.nc.subscribe(invokeSubject(namespace, name), {
    queue: replicaQueueGroup,
    callback: (error, message) => {
      if (error) return;
      try {
        relay(bus, invoker, options, message);
      } catch (cause) {
        const fault = cause instanceof BuskerError ? cause : new BuskerError("internal", "the call could not be passed on", { cause });
        answer(bus, message, "", { kind: "failed", error: fault });
      }
    },
  });
  return () => subscription.unsubscribe();
};
