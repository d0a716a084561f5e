import { Readable } from "node:stream";
import { BuskerError } from "../../schemas/errors.ts";
import { stopAnswer, stopError } from "../answers.ts";
import { captureConsole } from "../handler/capture-console.ts";
import { answerOfValue } from "../handler/handler-answer.ts";
import { HandlerContext, type HandlerVerdict } from "../handler/handler-context.ts";
import { type BodyKind, createHandlerEvent } from "../handler/handler-event.ts";
import { loadHandler, type LoadedHandler } from "../handler/load-handler.ts";
import { createLoopKeeper } from "../handler/loop-keeper.ts";
import { failedAnswer, letGo, sendAnswer } from "../handler/send-answer.ts";
import type { Answer, Call, Mode, StopCall } from "../mode.ts";
import type { ModeParts } from "../mode-parts.ts";
import { withoutUpgrade } from "./write-input.ts";

const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";

/** Where a call's answer goes. */
interface CallEnds {
  readonly finish: (answer: Answer) => void;
  /** The handler's own code has no more part in the call. Called once. */
  readonly onDone: () => void;
}

/** Runs one call in this thread. */
const runHandler = (
  { handler, streamsBody }: LoadedHandler,
  { config, context: log }: ModeParts,
  call: Call,
  { finish, onDone }: CallEnds,
): StopCall => {
  let isDecided = false;
  let isStopped = false;
  let stopSending: StopCall | undefined;
  const logLines = (text: string): void => {
    for (const line of text.split("\n")) log.log("stderr", line, call.id);
  };
  const finishFailed = (error: unknown, status: number): void => {
    stopSending = () => undefined;
    onDone();
    finish(failedAnswer(error, status, logLines));
  };
  const send = (verdict: HandlerVerdict): void => {
    const status = context.status();
    if (verdict.kind === "failed") return finishFailed(verdict.error, status === 200 ? 500 : status);
    const { maxResponseBytes: maxBytes } = config;
    try {
      const answer = answerOfValue(verdict.value, status, context.headers());
      stopSending = sendAnswer(answer, { canStream: call.canStream === true, maxBytes, log: logLines, finish, onDone });
    } catch (error) {
      finishFailed(error, 500);
    }
  };
  const decide = (verdict: HandlerVerdict): void => {
    if (isDecided) return;
    isDecided = true;
    // Later, because the caller's `begin` may not have returned yet.
    queueMicrotask(() => {
      if (!isStopped) send(verdict);
      else if (verdict.kind === "succeeded") letGo(verdict.value, logLines);
    });
  };
  const succeed = (value: unknown): void => decide({ kind: "succeeded", value });
  const fail = (error: unknown): void => decide({ kind: "failed", error });
  const context = new HandlerContext(call, decide);
  const bodyKind: BodyKind = streamsBody ? "stream" : config.rawBody ? "bytes" : "text";
  const event = createHandlerEvent(call, bodyKind);
  try {
    const value = handler(event, context, (error, result) => (error ? fail(error) : succeed(result)));
    if (isThenable(value)) value.then(succeed, fail);
    else if (value !== undefined || handler.length < 3) succeed(value);
  } catch (error) {
    fail(error);
  }
  return (cause) => {
    if (isStopped) return;
    isStopped = true;
    context.stop(cause);
    if (event.body instanceof Readable) event.body.destroy(stopError(cause));
    if (stopSending) return stopSending(cause);
    onDone();
    finish(stopAnswer(cause));
  };
};

/**
 * The function's own Node code, run in the watchdog's thread: no second process, no second hop. A handler that awaits for
 * ever is answered for at its deadline; one that loops ends the process (see `loop-keeper.ts`), as nothing else can.
 */
export const createHandlerMode = (parts: ModeParts): Mode => {
  const keeper = createLoopKeeper();
  let loaded: LoadedHandler | undefined;
  let restoreConsole = (): void => undefined;

  const begin = (call: Call, finish: (answer: Answer) => void): StopCall => {
    if (!loaded) throw new BuskerError("internal", "cannot run a call before the handler was loaded");
    const place = keeper.enter(call.deadlineMs);
    return runHandler(loaded, parts, withoutUpgrade(call), { finish, onDone: () => keeper.leave(place) });
  };

  return {
    get takesStreams() {
      return loaded?.streamsBody === true;
    },
    async start() {
      restoreConsole = captureConsole(parts.context.log, parts.config.logBufferBytes);
      try {
        loaded = await loadHandler(parts.cwd, parts.config.handlerPath);
      } catch (error) {
        restoreConsole();
        throw error;
      }
    },
    begin,
    async stop() {
      restoreConsole();
      await keeper.stop();
    },
  };
};
