import { BuskerError } from "../../schemas/errors.ts";
import { maxWholeBytes } from "../../schemas/invocation.ts";
import type { BodySink } from "../../services/bus/body-sender.ts";
import { messageOf, stopAnswer, stopError, textAnswer, tooLargeAnswer } from "../answers.ts";
import { GrowingBody } from "../growing-body.ts";
import type { Answer, StopCall } from "../mode.ts";
import { pump } from "../pump.ts";
import type { HandlerAnswer } from "./handler-answer.ts";
import { isStreamedBody, openPieces, type StreamedBody } from "./piece-source.ts";

/** How an answer is sent. */
export interface SendParts {
  readonly canStream: boolean;
  /** Most bytes of an answer that is not streamed. */
  readonly maxBytes: number;
  readonly log: (text: string) => void;
  /** Called once, with the answer or its beginning. */
  readonly finish: (answer: Answer) => void;
  /** The handler's own code has no more part in the call. Called once. */
  readonly onDone: () => void;
}

/** A handler's failure is the function's own: a status of 500 or the one it set, its message to the caller, its stack to the log. */
export const failedAnswer = (error: unknown, status: number, log: (text: string) => void): Answer => {
  logError(error, log);
  return textAnswer(status, `${messageOf(error)}\n`);
};

const logError = (error: unknown, log: (text: string) => void): void => {
  const isOurs = error instanceof BuskerError;
  log(error instanceof Error && !isOurs ? (error.stack ?? error.message) : messageOf(error));
};

/** Whether a body is beyond a limit; most strings are told without counting their bytes. */
const isLarger = (body: string | Uint8Array, maxBytes: number): boolean =>
  typeof body === "string" ? body.length * 3 > maxBytes && Buffer.byteLength(body) > maxBytes : body.length > maxBytes;

const withLength = (headers: readonly string[], bytes: number): readonly string[] => [
  ...headers.filter((_, at) => headers[at - (at % 2)]?.toLowerCase() !== "content-length"),
  "Content-Length",
  String(bytes),
];

const noStop: StopCall = () => undefined;

/** A body that is there as a whole, in one message or, where it is large, in several. */
const sendWhole = (answer: Answer, { canStream, maxBytes, finish, onDone }: SendParts): StopCall => {
  onDone();
  if (!isLarger(answer.body, canStream ? maxWholeBytes : maxBytes)) {
    finish(answer);
    return noStop;
  }
  if (!canStream) {
    finish(tooLargeAnswer(maxBytes));
    return noStop;
  }
  const body = Buffer.from(answer.body);
  let sink: BodySink | undefined;
  const stream = (to: BodySink): void => {
    sink = to;
    to.end();
  };
  finish({ ...answer, headers: withLength(answer.headers, body.length), body, stream });
  return (cause) => sink?.abort(stopError(cause));
};

/** A body that comes piece by piece: whole when it ends at once and is small, else as it comes. */
const sendPieces = (given: HandlerAnswer, source: StreamedBody, parts: SendParts): StopCall => {
  const { log, finish, onDone } = parts;
  const pieces = openPieces(source, log);
  let sink: BodySink | undefined;
  let isOver = false;
  const answerWith = (body: Buffer): Answer => {
    const type = pieces.isText() ? "text/plain; charset=utf-8" : "application/octet-stream";
    return {
      status: given.status,
      headers: given.hasType ? given.headers : [...given.headers, "Content-Type", type],
      body,
    };
  };
  const settle = (): boolean => {
    if (isOver) return false;
    isOver = true;
    onDone();
    return true;
  };
  const body = new GrowingBody({
    maxBytes: parts.maxBytes,
    onStream: parts.canStream
      ? (first, start) => finish({ ...answerWith(first), stream: (to) => start((sink = to)) })
      : undefined,
    onTooLarge: () => {
      if (!settle()) return;
      body.drop();
      pieces.cancel();
      finish(tooLargeAnswer(parts.maxBytes));
    },
  });
  const end = (): void => {
    if (!settle()) return;
    if (sink) sink.end();
    else finish(answerWith(body.whole()));
  };
  const fail = (error: unknown): void => {
    if (!settle()) return;
    body.drop();
    if (!sink) return finish(failedAnswer(error, 500, log));
    logError(error, log);
    sink.abort(new BuskerError("function_failed", `the function failed: ${messageOf(error)}`, { cause: error }));
  };
  let hasPiece = false;
  const next = async (): ReturnType<typeof pieces.next> => {
    // Without a first piece nobody knows yet what type the body has, unless the handler has said it.
    if (hasPiece || given.hasType) body.expectMore();
    const result = await pieces.next();
    hasPiece = true;
    return result;
  };
  pump({ next, cancel: pieces.cancel }, body).then(end, fail);
  return (cause) => {
    if (settle()) {
      body.drop();
      pieces.cancel();
      if (!sink) finish(stopAnswer(cause));
    }
    sink?.abort(stopError(cause));
  };
};

/** Ends the stream that a handler has given as its answer, or in it, when nobody waits for it any more. */
export const letGo = (value: unknown, log: (text: string) => void): void => {
  const body = typeof value === "object" && value !== null && "body" in value ? value.body : undefined;
  for (const candidate of [value, body])
    if (isStreamedBody(candidate)) {
      try {
        openPieces(candidate, log).cancel();
      } catch (error) {
        // Somebody else reads it.
        logError(error, log);
      }
    }
};

/**
 * Sends what a handler has answered; gives what stops that. Throws when a stream cannot be read at all, and has called
 * nothing then.
 */
export const sendAnswer = (answer: HandlerAnswer, parts: SendParts): StopCall => {
  const { status, headers, body } = answer;
  if (typeof body === "string" || body instanceof Uint8Array) return sendWhole({ status, headers, body }, parts);
  return sendPieces(answer, body, parts);
};
