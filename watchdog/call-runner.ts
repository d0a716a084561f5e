import { BuskerError } from "../schemas/errors.ts";
import { parseDurationMs } from "../schemas/function.ts";
import { maxFrameBytes } from "../schemas/invocation.ts";
import { maxBodyBytes } from "../schemas/topology.ts";
import { Bag, type BagItem } from "../services/bus/bag.ts";
import type { IncomingBody } from "../services/bus/body-receiver.ts";
import type { BusMessage } from "../services/bus/connection.ts";
import type { ReceivedRequest } from "../services/bus/invocation-wire.ts";
import { type Answering, callerOf, errorAnswerOf } from "./answer-calls.ts";
import { stopError } from "./answers.ts";
import type { CallStream, CallStreams } from "./call-streams.ts";
import { collectRest } from "./collect-rest.ts";
import { answerProbe } from "./health.ts";
import { isEventStream, type KeptAnswers } from "./kept-answers.ts";
import type { Answer, Mode, StopCall, StopCause } from "./mode.ts";
import type { Reporter } from "./reporter.ts";
import type { SlotKeeper } from "./slot-keeper.ts";

/** Runs calls that have a slot, and stops those that overrun or that nobody waits for. */
export interface CallRunner {
  readonly begin: (message: BusMessage, request: ReceivedRequest) => void;
  readonly cancel: (callId: string) => void;
  /** Starts the clock by which deadlines are watched and held slots let go. */
  readonly watchClock: () => void;
}

/** What running a call takes. */
export interface RunnerParts {
  readonly mode: Mode;
  readonly keeper: SlotKeeper;
  readonly reporter: Reporter;
  readonly answering: Answering;
  readonly streams: CallStreams;
  readonly kept: KeptAnswers;
  /** The function's one timeout, in milliseconds. */
  readonly timeoutMs: number;
  /** Path of the function's own readiness, where it has one; else empty. */
  readonly readyPath: string;
  /** The function did not answer as a process that lives does: its end may not be known yet. */
  readonly onUnreachable: () => void;
}

interface RunningCall extends BagItem {
  readonly id: string;
  readonly deadlineMs: number;
  stop: StopCall | undefined;
  stopped: boolean;
  /** Why its stream broke: told instead of what the mode makes of its end. */
  fault: BuskerError | undefined;
  stream: CallStream | undefined;
}

const tickMs = 10;
// The clock stops only after a second without calls: starting it for each of a series would cost more than its ticks.
const idleTicksToStop = 100;

/** `X-Timeout` shortens a single call (contract §3.1); undefined when it is absent or no duration. */
const ownTimeoutMs = (headers: readonly string[]): number | undefined => {
  for (let at = 0; at < headers.length; at += 2)
    if (headers[at]?.length === 9 && headers[at]?.toLowerCase() === "x-timeout")
      return parseDurationMs(headers[at + 1] ?? "");
  return undefined;
};

const deadlineOf = (request: ReceivedRequest, startedMs: number, timeoutMs: number): number => {
  const own = startedMs + Math.min(timeoutMs, ownTimeoutMs(request.head.headers) ?? timeoutMs);
  return Math.min(request.deadlineMs ?? own, own);
};

const nothing = new Uint8Array();

// Its sender must not wait for credit: it would not notice its own client's end.
const readAndDrop = (rest: IncomingBody): void =>
  rest.listen({ onData: (chunk) => rest.consumed(chunk.length), onEnd: () => {}, onError: () => {} });

const withDuration = (answer: Answer, durationMs: number): Answer => ({
  ...answer,
  headers: [...answer.headers, "X-Duration-Seconds", (durationMs / 1000).toFixed(6)],
});

/** Watches the clock while there is something to watch. */
const createClock = (tick: () => boolean): (() => void) => {
  let timer: NodeJS.Timeout | undefined;
  let idleTicks = 0;
  const onTick = (): void => {
    if (tick() || (idleTicks += 1) < idleTicksToStop) return;
    clearInterval(timer);
    timer = undefined;
  };
  return () => {
    idleTicks = 0;
    timer ??= setInterval(onTick, tickMs).unref();
  };
};

/** Creates a runner; nothing happens until a call begins. */
export const createCallRunner = (parts: RunnerParts): CallRunner => {
  const { mode, keeper, reporter, answering } = parts;
  const running = new Bag<RunningCall>();
  const stopCall = (call: RunningCall, cause: StopCause): void => {
    if (call.stopped) return;
    call.stopped = true;
    call.stop?.(cause);
  };
  const watchClock = createClock(() => {
    const now = Date.now();
    for (const call of running.snapshot()) if (now >= call.deadlineMs) stopCall(call, "deadline");
    keeper.expire(now);
    return running.size > 0;
  });

  const openStream = (call: RunningCall, message: BusMessage): CallStream =>
    (call.stream ??= parts.streams.open(message.reply ?? "", (fault) => {
      call.fault = fault;
      stopCall(call, "cancelled");
    }));

  const run = (message: BusMessage, request: ReceivedRequest): void => {
    const startedMs = Date.now();
    const deadlineMs = deadlineOf(request, startedMs, parts.timeoutMs);
    const call: RunningCall = {
      id: request.callId,
      deadlineMs,
      stop: undefined,
      stopped: false,
      fault: undefined,
      stream: undefined,
      bagIndex: -1,
    };
    running.add(call);
    reporter.began();
    watchClock();
    /** The end of the call, before its last message: gives whether a slot is held for its caller. */
    const end = (status: number): boolean => {
      running.remove(call);
      call.stream?.close();
      reporter.finished({ id: call.id, status, startedMs, durationMs: Date.now() - startedMs });
      return keeper.release(callerOf(message));
    };
    const finishWhole = (answer: Answer): void => {
      const durationMs = Date.now() - startedMs;
      const offer = end(answer.status);
      if (answer.error === "function_unreachable") parts.onUnreachable();
      answering.answer(message, call.id, withDuration(answer, durationMs), offer);
    };
    const canStream = request.windowBytes > 0 && message.reply !== undefined;
    const endStream = (kind: "end" | "abort", number: number, status: number, error: BuskerError | undefined): void => {
      if (error?.code === "function_unreachable") parts.onUnreachable();
      answering.last(message, { kind, number, error, offer: end(error?.status ?? status) });
    };
    const toldOf = (error: BuskerError | undefined): BuskerError | undefined => error && (call.fault ?? error);
    /** Its events go where they are kept, and to the caller only that they do, and the end. */
    const keep = (answer: Answer): void => {
      const stream = openStream(call, message);
      const given = withDuration(answer, Date.now() - startedMs);
      const { id, sink } = parts.kept.open({
        callId: call.id,
        head: { status: given.status, headers: given.headers },
        deadlineMs,
        toldOf,
        onFault: (fault) => {
          call.fault ??= fault;
          if (answer.stream) stopCall(call, "cancelled");
          sink.abort(fault);
        },
        onLast: (error) => endStream(error ? "abort" : "end", 1, answer.status, error),
      });
      answering.head(message, call.id, { ...given, body: "" }, { inbox: stream.inbox, stream: id });
      stream.goOnAlone();
      answer.stream?.(sink);
      sink.write(typeof answer.body === "string" ? Buffer.from(answer.body) : answer.body);
      if (!answer.stream) sink.end();
    };
    const finish = (answer: Answer): void => {
      if (call.fault) return finishWhole(errorAnswerOf(call.fault));
      if (request.keepsEvents && canStream && isEventStream(answer)) return keep(answer);
      if (!answer.stream) return finishWhole(answer);
      const stream = openStream(call, message);
      const { body, status } = answer;
      const bytes = typeof body === "string" ? Buffer.from(body) : body;
      const first = bytes.subarray(0, Math.min(maxFrameBytes, request.windowBytes));
      const head = withDuration({ ...answer, body: first }, Date.now() - startedMs);
      answering.head(message, call.id, head, { inbox: stream.inbox });
      const sink = stream.answer(first.length, request.windowBytes, (kind, number, error) =>
        endStream(kind, number, status, toldOf(error)),
      );
      sink.write(bytes.subarray(first.length));
      answer.stream(sink);
    };
    const begin = (body: Uint8Array, rest?: IncomingBody, upgrade?: "websocket"): void => {
      const { method, path, headers } = request.head;
      call.stop = mode.begin(
        { id: call.id, method, path, headers, body, rest, upgrade, canStream, deadlineMs },
        finish,
      );
    };
    if (!request.isStreamed) return begin(request.body);
    const { upgrade } = request.head;
    const rest = openStream(call, message).upload(request.body.length);
    if (upgrade && !(mode.takesStreams && canStream)) {
      readAndDrop(rest);
      return begin(nothing);
    }
    if (mode.takesStreams) return begin(request.body, rest, upgrade);
    call.stop = (cause) => finishWhole(errorAnswerOf(call.fault ?? stopError(cause)));
    collectRest(request.body, rest, maxBodyBytes, (body) => {
      if (call.stopped) return;
      if (body instanceof BuskerError) finishWhole(errorAnswerOf(body));
      else begin(body);
    });
  };

  return {
    watchClock,
    cancel: (callId) => {
      for (const call of running.snapshot()) if (call.id === callId) stopCall(call, "cancelled");
    },
    begin: (message, request) => {
      const probe = answerProbe(request.head, parts.readyPath);
      if (probe === undefined) return run(message, request);
      if (probe.kind === "ask") return run(message, { ...request, head: { ...request.head, path: probe.path } });
      answering.answer(message, request.callId, probe.answer, keeper.release(callerOf(message)));
    },
  };
};
