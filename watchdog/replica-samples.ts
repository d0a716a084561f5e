import { emptyHistogram, observe } from "../schemas/histogram.ts";
import type { FunctionName } from "../schemas/names.ts";
import { idleSampleEveryMs, sampleEveryMs } from "../schemas/sample.ts";
import type { Bus } from "../services/bus/connection.ts";
import { type Counted, createSampleSender } from "../services/bus/sample-sender.ts";
import type { ProcessTree } from "./process-tree.ts";

/** What is counted of a replica; the hot path only adds to numbers. */
export interface ReplicaSamples {
  readonly began: () => void;
  /** The function has a call that was here for so long. */
  readonly had: (waitMs: number) => void;
  readonly finished: (status: number, durationMs: number) => void;
  /** Tells what has been counted and not been told. */
  readonly flush: () => void;
  readonly stop: () => void;
}

/** What a sample tells besides what was counted. */
export interface ReplicaState {
  readonly inFlight: () => number;
  readonly slots: number;
}

// Timers of a process that was stopped and goes on fire once: the time in between is not one that it measured.
const longestTickMs = 2 * sampleEveryMs;

const nothingCounted = () => ({
  started: 0,
  finished: {} as Record<string, number>,
  durations: emptyHistogram(),
  waits: emptyHistogram(),
});

/** Measures a replica from now on: a sample a second; while there is nothing new to tell, one every ten. */
export const sampleReplica = (
  bus: Bus,
  name: FunctionName & { readonly replica: string },
  state: ReplicaState,
  tree: ProcessTree,
): ReplicaSamples => {
  const sender = createSampleSender(bus);
  const series = sender.open("io.busker.metric", name, name.replica);
  let counted = nothingCounted();
  let changed = true;
  let cpuSeconds = 0;
  let awakeMs = 0;
  let tickedMs = performance.now();

  const send = (): void => {
    const usage = tree.usage();
    const inFlight = state.inFlight();
    const data: Counted<"io.busker.metric"> = {
      ...counted,
      seconds: awakeMs / 1000,
      inFlight,
      slots: state.slots,
      cpuSeconds: Math.max(0, usage.cpuSeconds - cpuSeconds),
      memoryBytes: usage.memoryBytes,
    };
    if (!series.send(data)) return;
    ({ cpuSeconds } = usage);
    counted = nothingCounted();
    awakeMs = 0;
    // A call that goes on keeps it talking.
    changed = inFlight > 0;
  };
  const passTime = (): void => {
    const now = performance.now();
    awakeMs += Math.min(now - tickedMs, longestTickMs);
    tickedMs = now;
  };
  const timer = setInterval(() => {
    passTime();
    // A timer may be a moment early.
    if (changed || awakeMs >= idleSampleEveryMs - sampleEveryMs / 2) send();
  }, sampleEveryMs);
  return {
    began: () => {
      changed = true;
      counted.started += 1;
    },
    had: (waitMs) => observe(counted.waits, waitMs / 1000),
    finished: (status, durationMs) => {
      changed = true;
      counted.finished[status] = (counted.finished[status] ?? 0) + 1;
      observe(counted.durations, durationMs / 1000);
    },
    flush: () => {
      passTime();
      if (changed) send();
    },
    stop: () => {
      clearInterval(timer);
      sender.stop();
    },
  };
};
