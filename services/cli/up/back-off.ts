/** The shortest and the longest wait before a service is started again, in milliseconds. */
export const backOffMs = { first: 100, longest: 10_000 } as const;

/**
 * How long to wait before the next start: twice as long after every death, and from the shortest again after a life
 * longer than the longest wait, which shows that it did work.
 */
export const nextWaitMs = (previousMs: number | undefined, livedMs: number): number =>
  previousMs === undefined || livedMs > backOffMs.longest
    ? backOffMs.first
    : Math.min(previousMs * 2, backOffMs.longest);
