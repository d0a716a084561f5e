import { BuskerError } from "../../schemas/errors.ts";
import { messageOf, stopAnswer, textAnswer, tooLargeAnswer } from "../answers.ts";
import { captureConsole } from "../handler/capture-console.ts";
import { answerOfValue } from "../handler/handler-answer.ts";
import { HandlerContext, type HandlerVerdict } from "../handler/handler-context.ts";
import { createHandlerEvent } from "../handler/handler-event.ts";
import { loadHandler, type Handler } from "../handler/load-handler.ts";
import { createLoopKeeper } from "../handler/loop-keeper.ts";
import type { Answer, Call, Mode, StopCall } from "../mode.ts";
import type { ModeParts } from "../mode-parts.ts";

const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";

/** Whether an answer's body is beyond the limit; most strings are told without counting their bytes. */
const isTooLarge = (body: string | Uint8Array, maxBytes: number): boolean =>
  typeof body === "string" ? body.length * 3 > maxBytes && Buffer.byteLength(body) > maxBytes : body.length > maxBytes;

/** A handler's failure is the function's own: status 500 or the one it set, its message to the caller, its stack to the log. */
const failedAnswer = (error: unknown, status: number, log: (text: string) => void): Answer => {
  const isOurs = error instanceof BuskerError;
  log(error instanceof Error && !isOurs ? (error.stack ?? error.message) : messageOf(error));
  return textAnswer(status, `${messageOf(error)}\n`);
};

/** Runs one call in this thread. */
const runHandler = (
  handler: Handler,
  { config, context: log }: ModeParts,
  call: Call,
  settle: (answer: Answer) => void,
): HandlerContext => {
  const logError = (text: string): void => {
    for (const line of text.split("\n")) log.log("stderr", line, call.id);
  };
  const toAnswer = (verdict: HandlerVerdict): Answer => {
    const status = context.status();
    if (verdict.kind === "failed") return failedAnswer(verdict.error, status === 200 ? 500 : status, logError);
    try {
      const answer = answerOfValue(verdict.value, status, context.headers());
      return isTooLarge(answer.body, config.maxResponseBytes) ? tooLargeAnswer(config.maxResponseBytes) : answer;
    } catch (error) {
      return failedAnswer(error, 500, logError);
    }
  };
  let decided = false;
  const decide = (verdict: HandlerVerdict): void => {
    if (decided) return;
    decided = true;
    // Later, because the caller's `begin` may not have returned yet.
    queueMicrotask(() => settle(toAnswer(verdict)));
  };
  const succeed = (value: unknown): void => decide({ kind: "succeeded", value });
  const fail = (error: unknown): void => decide({ kind: "failed", error });
  const context = new HandlerContext(call, decide);
  try {
    const value = handler(createHandlerEvent(call, config.rawBody), context, (error, result) =>
      error ? fail(error) : succeed(result),
    );
    if (isThenable(value)) value.then(succeed, fail);
    else if (value !== undefined || handler.length < 3) succeed(value);
  } catch (error) {
    fail(error);
  }
  return context;
};

/**
 * The function's own Node code, run in the watchdog's thread: no second process, no second hop. A handler that awaits for
 * ever is answered for at its deadline; one that loops ends the process (see `loop-keeper.ts`), as nothing else can.
 */
export const createHandlerMode = (parts: ModeParts): Mode => {
  const keeper = createLoopKeeper();
  let handler: Handler | undefined;
  let restoreConsole = (): void => undefined;

  const begin = (call: Call, finish: (answer: Answer) => void): StopCall => {
    if (!handler) throw new BuskerError("internal", "cannot run a call before the handler was loaded");
    const place = keeper.enter(call.deadlineMs);
    let open = true;
    const settle = (answer: Answer): void => {
      if (!open) return;
      open = false;
      keeper.leave(place);
      finish(answer);
    };
    const context = runHandler(handler, parts, call, settle);
    return (cause) => {
      if (!open) return;
      context.stop(cause);
      settle(stopAnswer(cause));
    };
  };

  return {
    async start() {
      restoreConsole = captureConsole(parts.context.log, parts.config.logBufferBytes);
      try {
        handler = await loadHandler(parts.cwd, parts.config.handlerPath);
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
