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

/** What an answer says besides what the function said. */
export interface AboutAnswer {
  /** A slot is held for this caller. */
  readonly offer: boolean;
  /** How long the function had the call; absent where it never did. */
  readonly durationMs?: number;
  /** The answer is streamed: where the caller's frames go. */
  readonly inbox?: string;
  /** The id under which it is kept. */
  readonly stream?: string;
}

/** Reads calls and answers them, each answer with the replica's load. */
export interface Answering {
  /** Undefined when it could not be read; the caller has been told so. */
  readonly read: (message: BusMessage) => ReceivedRequest | undefined;
  /** A whole answer, or with `inbox` the first frame of a streamed one. */
  readonly answer: (message: BusMessage, callId: string, answer: Answer, about: AboutAnswer) => void;
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

const headersOf = ({ headers }: Answer, durationMs: number | undefined): readonly string[] =>
  durationMs === undefined ? headers : headers.concat("X-Duration-Seconds", (durationMs / 1000).toFixed(6));

/** Creates the side of a replica that speaks with its callers. */
export const createAnswering = (bus: Bus, keeper: SlotKeeper): Answering => {
  const answer: Answering["answer"] = (message, callId, given, { offer, durationMs, inbox, stream }) => {
    if (!message.reply) return;
    const headers = encodeReply({
      callId,
      source: bus.source,
      head: { status: given.status, headers: headersOf(given, durationMs) },
      inFlight: keeper.loadFor(callerOf(message)),
      slots: keeper.slots,
      offer,
      inbox,
      stream,
      error: given.error,
    });
    bus.nc.publish(message.reply, given.body, { headers });
  };
  const refuse: Answering["refuse"] = (message, error, callId = "") =>
    answer(message, callId, errorAnswerOf(error), { offer: false });
  return {
    answer,
    refuse,
    last: (message, { kind, number, error, offer }) => {
      if (!message.reply) return;
      const load = { inFlight: keeper.loadFor(callerOf(message)), slots: keeper.slots, offer };
      const headers = encodeLastFrame(kind, number, load, error?.code);
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
