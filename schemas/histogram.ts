import { amount, type JsonSchema, listOf, object, whole } from "./json-schema.ts";

/**
 * How often values fell into each class, and their sum. Plain data, so that histograms can be sent and added up, which
 * quantiles cannot.
 */
export interface Histogram {
  /** One count a class of `timeBounds`, then one for what is beyond; zeros at the end are left out. */
  readonly counts: readonly number[];
  /** In seconds. */
  readonly sum: number;
}

/**
 * The upper bound of each class, in seconds, inclusive: Prometheus' own default ones, that dashboards made for OpenFaaS
 * know, with some below for handlers and some above for calls that take long.
 */
export const timeBounds: readonly number[] = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300,
];

/** A histogram that is being written. */
export interface OpenHistogram {
  counts: number[];
  sum: number;
}

/** One with nothing in it. */
export const emptyHistogram = (): OpenHistogram => ({ counts: [], sum: 0 });

/** Adds one value in seconds. */
export const observe = (histogram: OpenHistogram, seconds: number): void => {
  let at = 0;
  while (at < timeBounds.length && seconds > (timeBounds[at] ?? 0)) at += 1;
  const { counts } = histogram;
  while (counts.length <= at) counts.push(0);
  counts[at] = (counts[at] ?? 0) + 1;
  histogram.sum += seconds;
};

/** Adds all of another. */
export const addHistogram = (to: OpenHistogram, from: Histogram): void => {
  for (let at = 0; at < from.counts.length; at += 1) to.counts[at] = (to.counts[at] ?? 0) + (from.counts[at] ?? 0);
  to.sum += from.sum;
};

/** How many values it holds. */
export const countOf = ({ counts }: Histogram): number => counts.reduce((sum, count) => sum + count, 0);

/** The JSON Schema of a histogram. */
export const histogramSchema = (of: string): JsonSchema => ({
  ...object({
    counts: listOf(whole(`How many were at most ${timeBounds.join(", ")} s, and more; zeros at the end left out`)),
    sum: amount("Their sum in seconds"),
  }),
  description: of,
});
