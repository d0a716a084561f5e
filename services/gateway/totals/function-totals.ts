import { addHistogram, countOf, emptyHistogram, type OpenHistogram } from "../../../schemas/histogram.ts";
import type { Sample } from "../../../schemas/read-sample.ts";
import type { CallerSample, ReplicaSample } from "../../../schemas/sample.ts";

/** What was counted of one function since it was deployed. */
export interface FunctionTotals {
  /** As callers see it: calls begun, and how long those took that ended, by status. */
  started: number;
  readonly answered: Record<string, OpenHistogram>;
  /** Durable calls accepted. */
  submitted: number;
  /** Attempts at them that queue-workers have seen to their ends. */
  processed: number;
  /** As replicas see it: calls finished, by status. */
  readonly finished: Record<string, number>;
  readonly durations: OpenHistogram;
  readonly waits: OpenHistogram;
  cpuSeconds: number;
}

/** Nothing counted yet. */
export const emptyTotals = (): FunctionTotals => ({
  started: 0,
  answered: {},
  submitted: 0,
  processed: 0,
  finished: {},
  durations: emptyHistogram(),
  waits: emptyHistogram(),
  cpuSeconds: 0,
});

// Each status is a series of its own, and a function may answer with any.
const maxStatuses = 32;

/** The status itself; "other" for one more than a function has series for. */
const keyOf = (byStatus: Readonly<Record<string, unknown>>, status: string): string =>
  status in byStatus || Object.keys(byStatus).length < maxStatuses ? status : "other";

const isQueueWorker = (source: string): boolean => source.startsWith("queue-worker-");

const addCaller = (totals: FunctionTotals, source: string, sample: CallerSample): void => {
  totals.started += sample.started;
  totals.submitted += sample.accepted ?? 0;
  for (const [status, histogram] of Object.entries(sample.answered)) {
    addHistogram((totals.answered[keyOf(totals.answered, status)] ??= emptyHistogram()), histogram);
    if (isQueueWorker(source)) totals.processed += countOf(histogram);
  }
};

const addReplica = (totals: FunctionTotals, sample: ReplicaSample): void => {
  for (const [status, count] of Object.entries(sample.finished)) {
    const key = keyOf(totals.finished, status);
    totals.finished[key] = (totals.finished[key] ?? 0) + count;
  }
  addHistogram(totals.durations, sample.durations);
  addHistogram(totals.waits, sample.waits);
  totals.cpuSeconds += sample.cpuSeconds;
};

/** Adds what a sample counted. */
export const addSample = (totals: FunctionTotals, source: string, { kind, data }: Sample): void => {
  if (kind === "caller") addCaller(totals, source, data);
  if (kind === "replica") addReplica(totals, data);
};

/** Calls that have ended. */
export const invocationsOf = ({ answered }: FunctionTotals): number =>
  Object.values(answered).reduce((sum, histogram) => sum + countOf(histogram), 0);
