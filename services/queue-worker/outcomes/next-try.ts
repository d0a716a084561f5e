const firstWaitMs = 1000;
const longestWaitMs = 10 * 60_000;
// A receiver that asks for more is taken for one that is mistaken.
const longestAskedMs = 24 * 3600_000;

/**
 * How long to wait after so many failed tries: 1 s, doubled each time, 10 min at most, half of it by chance. What the receiver has
 * asked for counts instead, where it is a second or more. `random` is from 0 to less than 1.
 */
export const nextTryMs = (tries: number, askedMs: number | undefined, random: number): number => {
  if (askedMs !== undefined) return Math.min(longestAskedMs, Math.max(firstWaitMs, askedMs));
  const waitMs = Math.min(longestWaitMs, firstWaitMs * 2 ** Math.min(tries - 1, 20));
  return Math.round(waitMs * (0.5 + random / 2));
};
