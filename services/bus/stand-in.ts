import type { Msg } from "nats";
import { BuskerError } from "../../schemas/errors.ts";
import type { FunctionName } from "../../schemas/names.ts";
import { demandSubject, invokeSubject, isReplySubject, replicaQueueGroup } from "../../schemas/subjects.ts";
import type { Bus } from "./connection.ts";
import { publishEvent } from "./events.ts";
import type { CallResult } from "./open-call.ts";
import { headerText, headerValue } from "./headers.ts";
import { decodeAttribute } from "./cloud-events.ts";
import { decodeRequest, encodeReply, type ReplyParts } from "./invocation-wire.ts";
import type { Invoker } from "./invoker.ts";
import { readTraceAttributes } from "./trace-attributes.ts";

/** Whose place is taken. */
export interface StandInOptions {
  readonly function: FunctionName;
  /** The deadline of calls that bring none, counted from their arrival. */
  readonly timeoutMs: number;
}

/** What standing in needs. */
export interface StandInParts {
  readonly bus: Bus;
  readonly invoker: Invoker;
  readonly options: StandInOptions;
  /** Gets each call that was taken, and loses it when it is answered. */
  readonly waiting: Set<WaitingCall>;
}

/** A call that was taken and is not answered yet. */
export interface WaitingCall {
  isDone: boolean;
  /** Takes the call back and gives its caller this answer. */
  fail: (error: BuskerError) => void;
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

/** Nobody here reads the rest of such a body. A replica is asked for all the same, so that trying again helps. */
const refuseStream = ({ bus, options }: StandInParts, message: Msg, callId: string): void => {
  const { namespace, name } = options.function;
  publishEvent(bus, { subject: demandSubject(namespace, name), type: "io.busker.demand", data: { waiting: 1 } });
  const error = new BuskerError(
    "no_replica",
    `no replica of ${name}.${namespace} is ready, and a streamed body is not kept until one is; try again`,
  );
  answer(bus, message, callId, { kind: "failed", error });
};

/** Passes a call on. Gives what takes it back and answers its caller instead. */
const relay = (parts: StandInParts, message: Msg, onDone: () => void): ((error: BuskerError) => void) => {
  const request = decodeRequest(message);
  if (request.isStreamed) {
    refuseStream(parts, message, request.callId);
    onDone();
    return () => {};
  }
  const { bus, invoker, options } = parts;
  const headers = headerText(message);
  const contentType = headerValue(headers, "ce-datacontenttype");
  const settle = (result: CallResult): void => {
    onDone();
    answer(bus, message, request.callId, result);
  };
  const cancel = invoker.invoke(
    {
      function: options.function,
      callId: request.callId,
      head: request.head,
      body: request.body,
      deadlineMs: request.deadlineMs ?? Date.now() + options.timeoutMs,
      contentType: contentType && decodeAttribute(contentType),
      ...readTraceAttributes(headers),
    },
    settle,
  );
  return (error) => {
    cancel();
    settle({ kind: "failed", error });
  };
};

/**
 * Takes the place of a function's replicas in their queue group, for callers that only know that: keeps each call in
 * the invoker's line until a replica is ready, and passes the answer back (design §3). Gives a function that leaves the
 * place; calls that were taken are still answered.
 */
export const standIn = (parts: StandInParts): (() => void) => {
  const { bus, options, waiting } = parts;
  const { namespace, name } = options.function;
  const take = (message: Msg): void => {
    const call: WaitingCall = { isDone: false, fail: () => {} };
    call.fail = relay(parts, message, () => {
      call.isDone = true;
      waiting.delete(call);
    });
    if (!call.isDone) waiting.add(call);
  };
  const subscription = bus.nc.subscribe(invokeSubject(namespace, name), {
    queue: replicaQueueGroup,
    callback: (error, message) => {
      if (error) return;
      try {
        take(message);
      } catch (cause) {
        const fault =
          cause instanceof BuskerError
            ? cause
            : new BuskerError("internal", "the call could not be passed on", { cause });
        answer(bus, message, "", { kind: "failed", error: fault });
      }
    },
  });
  // Drained: what is on its way here already would be lost without a word. With the server away there is nothing.
  return () => void subscription.drain().catch(() => {});
};
