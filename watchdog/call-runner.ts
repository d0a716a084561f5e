import { parseDurationMs } from "../schemas/function.ts";
import { Bag, type BagItem } from "../services/bus/bag.ts";
import type { BusMessage } from "../services/bus/connection.ts";
import type { ReceivedRequest } from "../services/bus/invocation-wire.ts";
import { type Answering, callerOf } from "./answer-calls.ts";
import { answerProbe } from "./health.ts";
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

  const run = (message: BusMessage, request: ReceivedRequest): void => {
    const startedMs = Date.now();
    const deadlineMs = deadlineOf(request, startedMs, parts.timeoutMs);
    const call: RunningCall = { id: request.callId, deadlineMs, stop: undefined, stopped: false, bagIndex: -1 };
    running.add(call);
    reporter.began();
    watchClock();
    const { method, path, headers } = request.head;
    const finish = (answer: Answer): void => {
      running.remove(call);
      const durationMs = Date.now() - startedMs;
      reporter.finished({ id: call.id, status: answer.status, startedMs, durationMs });
      if (answer.error === "function_unreachable") parts.onUnreachable();
      const offer = keeper.release(callerOf(message));
      answering.answer(message, call.id, withDuration(answer, durationMs), offer);
    };
    call.stop = mode.begin({ id: call.id, method, path, headers, body: request.body, deadlineMs }, finish);
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
