import { randomUUID } from "node:crypto";
import { type Msg, RequestError, TimeoutError } from "nats";
import { BuskerError, isErrorCode } from "../../schemas/errors.ts";
import type { EventType } from "../../schemas/events.ts";
import type { SecretAnswer } from "../../schemas/secret.ts";
import { answerSubject, isAnswerSubject } from "../../schemas/subjects.ts";
import type { Bus } from "./connection.ts";
import { encodeEvent, type Publication, readEvent, type ReceivedEvent } from "./events.ts";

/** A request that a service answers, once and at once: kept by no stream. */
export interface Question<T extends EventType> extends Pick<Publication<T>, "subject" | "type" | "data"> {
  /** What is asked, for the error when nobody answers: `create secret api-key`. */
  readonly what: string;
  readonly timeoutMs: number;
  /** Which service answers; absent: the provider. */
  readonly who?: "scaler";
}

const noAnswer = (
  { what, timeoutMs, who }: Pick<Question<EventType>, "what" | "timeoutMs" | "who">,
  cause: unknown,
): BuskerError => {
  const service = who ?? "provider";
  const code = who === "scaler" ? "scaler_unavailable" : "provider_unavailable";
  if (cause instanceof RequestError && cause.isNoResponders())
    return new BuskerError(code, `could not ${what}: no ${service} is there; nothing was done`);
  if (cause instanceof TimeoutError)
    return new BuskerError(
      code,
      `no ${service} answered "${what}" within ${timeoutMs} ms; whether it was done is not known`,
    );
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new BuskerError("bus_unavailable", `could not ${what}: ${reason}`, { cause });
};

const fromWire = ({ code, message }: { readonly code: string; readonly message: string }): BuskerError =>
  new BuskerError(isErrorCode(code) ? code : "internal", message);

/** What every answer may say instead of what was asked for. */
interface Failed {
  readonly error?: { readonly code: string; readonly message: string };
}

const toWire = (error: unknown): Required<Failed> => {
  const { code, message } =
    error instanceof BuskerError
      ? error
      : new BuskerError("internal", error instanceof Error ? error.message : String(error));
  return { error: { code, message } };
};

/**
 * Asks and gives the answer. Throws the error that is in it, `provider_unavailable` or `scaler_unavailable` when nobody answers, and
 * `bus_unavailable` when no server does.
 */
export const ask = async <T extends EventType, A extends Failed = SecretAnswer>(
  bus: Bus,
  question: Question<T>,
): Promise<A> => {
  bus.assertConnected();
  const { headers, payload } = encodeEvent(bus.source, question);
  const options = { headers, reply: answerSubject(bus.user, randomUUID()), noMux: true, timeout: question.timeoutMs };
  const message = await bus.nc.request(question.subject, payload, options).catch((cause: unknown) => {
    throw noAnswer(question, cause);
  });
  const answer = message.json<A>();
  if (answer.error) throw fromWire(answer.error);
  return answer;
};

/**
 * Answers questions on a subject, one member of the queue group each; what `handle` throws is the answer, too. The reply
 * subject is the sender's choice: one where a service must not publish is not answered, and nothing is done. Gives a
 * function that stops it.
 */
export const answerQuestions = <T extends EventType, A extends Failed = SecretAnswer>(
  bus: Bus,
  { filter, queue }: { readonly filter: string; readonly queue: string },
  handle: (event: ReceivedEvent<T>) => Promise<A>,
): (() => void) => {
  const answer = async (message: Msg, reply: string): Promise<void> => {
    const content = await Promise.resolve()
      .then(() => handle(readEvent<T>(message)))
      .catch(toWire);
    bus.nc.publish(reply, JSON.stringify(content));
  };
  const subscription = bus.nc.subscribe(filter, {
    queue,
    callback: (error, message) => {
      const { reply } = message;
      if (!error && reply !== undefined && isAnswerSubject(reply)) void answer(message, reply);
    },
  });
  return () => subscription.unsubscribe();
};
