import { Bag } from "../services/bus/bag.ts";
import type { BusMessage } from "../services/bus/connection.ts";
import type { ReceivedRequest } from "../services/bus/invocation-wire.ts";
import { callerOf } from "./answer-calls.ts";
import { answerProbe } from "./health.ts";
import { RunningCall, type RunnerParts } from "./running-call.ts";

/** Runs calls that have a slot, and stops those that overrun or that nobody waits for. */
export interface CallRunner {
  readonly begin: (message: BusMessage, request: ReceivedRequest) => void;
  readonly cancel: (callId: string) => void;
  /** Starts the clock by which deadlines are watched and held slots let go. */
  readonly watchClock: () => void;
}

const tickMs = 10;
// The clock stops only after a second without calls: starting it for each of a series would cost more than its ticks.
const idleTicksToStop = 100;

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
  const { keeper, reporter, answering } = parts;
  const running = new Bag<RunningCall>();
  const watchClock = createClock(() => {
    const now = Date.now();
    for (const call of running.snapshot()) if (now >= call.deadlineMs) call.stop("deadline");
    keeper.expire(now);
    return running.size > 0;
  });
  const onEnd = (call: RunningCall): void => void running.remove(call);
  const run = (message: BusMessage, request: ReceivedRequest): void => {
    const call = new RunningCall(parts, message, request, onEnd);
    running.add(call);
    reporter.began();
    watchClock();
    call.begin();
  };
  return {
    watchClock,
    cancel: (callId) => {
      for (const call of running.snapshot()) if (call.id === callId) call.stop("cancelled");
    },
    begin: (message, request) => {
      const probe = answerProbe(request.head, parts.readyPath);
      if (probe === undefined) return run(message, request);
      if (probe.kind === "ask") return run(message, { ...request, head: { ...request.head, path: probe.path } });
      const offer = keeper.release(callerOf(message));
      answering.answer(message, request.callId, probe.answer, { offer });
    },
  };
};
