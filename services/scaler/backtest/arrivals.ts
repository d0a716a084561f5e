import type { LoadMinute } from "../../../schemas/load.ts";

/** Calls that begin in one second, and how long each takes. */
export interface Arrivals {
  readonly calls: number;
  readonly meanMs: number;
}

const share = (total: number, parts: number, part: number): number =>
  Math.floor((total * (part + 1)) / parts) - Math.floor((total * part) / parts);

/**
 * How many calls of a recorded minute begin in one of its seconds. The log has the first and the last second with calls and
 * how many there were at a time at most: so many are taken to have begun together, at first, and the others evenly from then
 * to the last second.
 */
export const arrivalsIn = ({ started, peak, first, last, meanMs }: LoadMinute, second: number): Arrivals => {
  if (started === 0 || second < first || second > last) return { calls: 0, meanMs };
  const steady = Math.ceil((started / (last - first + 1)) * (meanMs / 1000));
  const together = Math.min(started, peak > steady ? peak : 0);
  const calls = share(started - together, last - first + 1, second - first);
  return { calls: second === first ? calls + together : calls, meanMs };
};
