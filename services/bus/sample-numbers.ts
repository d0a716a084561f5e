/** What has come of one start of a source. */
export interface SampleNumbers {
  /** The highest number met. */
  readonly last: number;
  /** Numbers below it that have not been met. */
  readonly missing: readonly number[];
}

// A source sends what may be lost within half a minute, or never.
const maxMissing = 64;

/**
 * Takes the next sample of a source by its number, whatever order they come in: gives what is known then, or undefined for
 * a repeat, which is not to be counted.
 */
export const takeNumber = (known: SampleNumbers | undefined, n: number): SampleNumbers | undefined => {
  // What came before the first that is met is not of interest: a reader may begin anywhere.
  if (!known) return { last: n, missing: [] };
  if (n === known.last + 1) return { last: n, missing: known.missing };
  if (n > known.last) {
    const from = Math.max(known.last + 1, n - maxMissing);
    const skipped = Array.from({ length: n - from }, (_, at) => from + at);
    return { last: n, missing: [...known.missing, ...skipped].slice(-maxMissing) };
  }
  return known.missing.includes(n)
    ? { last: known.last, missing: known.missing.filter((each) => each !== n) }
    : undefined;
};
