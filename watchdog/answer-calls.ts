import { BuskerError } from "../schemas/errors.ts";
import type { Bus, BusMessage } from "../services/bus/connection.ts";
import { decodeRequest, encodeLastFrame, encodeReply, type ReceivedRequest } from "../services/bus/invocation-wire.ts";
import type { Answer } from "./mode.ts";
import type { SlotKeeper } from "./slot-keeper.ts";

/** What a caller is known by to a replica: its reply subject without the last token. */
export const callerOf = (message: Pick<BusMessage, "reply">): string => {
  const reply = message.reply ?? "";
  return reply.slice(0, reply.lastIndexOf("."));
};

/** The end of a streamed answer; with an error, it is not complete. */
export interface LastFrame {
  readonly kind: "end" | "abort";
  readonly number: number;
  readonly error: BuskerError | undefined;
  /** A slot is held for this caller. */
  readonly offer: boolean;
}

/** Reads calls and answers them, each answer with the replica's load. */
export interface Answering {
  /** Undefined when it could not be read; the caller has been told so. */
  readonly read: (message: BusMessage) => ReceivedRequest | undefined;
  /** `offer` says that a slot is held for this caller. */
  readonly answer: (message: BusMessage, callId: string, answer: Answer, offer: boolean) => void;
  /** The first frame of a streamed answer: where the caller's frames go, and the id under which it is kept, if it is. */
  readonly head: (
    message: BusMessage,
    callId: string,
    answer: Answer,
    more: { readonly inbox: string; readonly stream?: string },
  ) => void;
  /** Its last frame. */
  readonly last: (message: BusMessage, frame: LastFrame) => void;
  readonly refuse: (message: BusMessage, error: BuskerError, callId?: string) => void;
}

const plainText = ["Content-Type", "text/plain; charset=utf-8"];

/** An answer the platform makes, with an error's status and message. */
export const errorAnswerOf = (error: BuskerError): Answer => ({
  status: error.status,
  headers: plainText,
  body: `${error.message}\n`,
  error: error.code,
});

/** Creates the side of a replica that speaks with its callers. */
export const createAnswering = (bus: Bus, keeper: SlotKeeper): Answering => {
  const loadOf = (message: BusMessage) => ({ inFlight: keeper.loadFor(callerOf(message)), slots: keeper.slots });
  const send = (
    message: BusMessage,
    callId: string,
    given: Answer,
    more: { offer: boolean; inbox?: string; stream?: string },
  ): void => {
    if (!message.reply) return;
    const { status, headers, body, error } = given;
    const block = encodeReply({
      callId,
      source: bus.source,
      head: { status, headers },
      ...loadOf(message),
      ...more,
      error,
    });
    bus.nc.publish(message.reply, body, { headers: block });
  };
  const answer: Answering["answer"] = (message, callId, given, offer) => send(message, callId, given, { offer });
  const refuse: Answering["refuse"] = (message, error, callId = "") =>
    answer(message, callId, errorAnswerOf(error), false);
  return {
    answer,
    refuse,
    head: (message, callId, given, more) => send(message, callId, given, { offer: false, ...more }),
    last: (message, { kind, number, error, offer }) => {
      if (!message.reply) return;
      const headers = encodeLastFrame(kind, number, { ...loadOf(message), offer }, error?.code);
      bus.nc.publish(message.reply, error?.message ?? "", { headers });
    },
    read: (message) => {
      try {
        return decodeRequest(message);
      } catch (error) {
        refuse(message, error instanceof BuskerError ? error : new BuskerError("invalid_request", String(error)));
        return undefined;
      }
    },
  };
};
