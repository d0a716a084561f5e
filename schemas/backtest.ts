import type { FunctionSpec } from "./function.ts";
import type { LoadMinute } from "./load.ts";

/** The log of one function's load, and the function, as the gateway tells them. */
export interface RecordedLoad {
  readonly spec: FunctionSpec;
  /** In order. */
  readonly minutes: readonly LoadMinute[];
}

/** What a backtest is given: a recorded load, and the labels to compare with those that the function has. */
export interface BacktestInput extends RecordedLoad {
  readonly proposed: Readonly<Record<string, string>>;
  /** Milliseconds since the epoch: what was before is only learnt from. */
  readonly fromMs: number;
  readonly untilMs: number;
}

/** What came of a load under one policy. */
export interface SimulatedResult {
  readonly calls: number;
  /** Times that calls came and found no replica ready. */
  readonly coldStarts: number;
  /** Calls that had to wait for a replica or a slot. */
  readonly waited: number;
  /** How long those waited, together. */
  readonly waitedMs: number;
  /** Replicas, starting and ready, times the seconds that they were there. */
  readonly replicaSeconds: number;
}

/** What a backtest gives. */
export interface BacktestResult {
  readonly current: SimulatedResult;
  readonly proposed: SimulatedResult;
  /** How long a replica was taken to need to start, in milliseconds. */
  readonly startMs: number;
  /** What it could not take into account, a sentence each. */
  readonly notes: readonly string[];
}
