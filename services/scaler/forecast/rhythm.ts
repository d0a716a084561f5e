import { minutesADay } from "./load-history.ts";

/** How many replicas a minute had work for; undefined where nobody has watched it. */
export type Needed = (minute: number) => number | undefined;

// Less than this is no repetition: what happened twice may have been chance.
const leastSeen = 3;
const daily = { everyMinutes: minutesADay, times: 14 };
// A week ago counts for more than yesterday; a rhythm that has changed is to be learnt within two weeks.
const weekly = { everyMinutes: 7 * minutesADay, times: 4 };
// Timers and people come a little early or late.
const aroundMinutes = 2;

/** From how long ago on a minute says something of another, in minutes. */
export const soonestMinutes = minutesADay - aroundMinutes;

const neededAround = (needed: Needed, minute: number): number | undefined => {
  let most: number | undefined;
  for (let at = minute - aroundMinutes; at <= minute + aroundMinutes; at += 1) {
    const need = needed(at);
    if (need !== undefined && need > (most ?? -1)) most = need;
  }
  return most;
};

const lookBack = (needed: Needed, minute: number, { everyMinutes, times }: typeof daily): readonly number[] => {
  const seen: number[] = [];
  for (let back = 1; back <= times; back += 1) {
    const need = neededAround(needed, minute - back * everyMinutes);
    if (need !== undefined) seen.push(need);
  }
  return seen;
};

// Of an even number the higher of the two in the middle: half of the times is often enough to be ready.
const middle = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

/**
 * How many replicas a minute will have work for, by what its function did at this time before: in the middle of the last four
 * weeks on this weekday, or, while fewer than three of them were watched, of the last fourteen days. A single burst is
 * not in the middle of anything; 0 while too little is known. Times of day are UTC.
 */
export const expectedAt = (needed: Needed, minute: number): number => {
  const weeks = lookBack(needed, minute, weekly);
  if (weeks.length >= leastSeen) return middle(weeks);
  const days = lookBack(needed, minute, daily);
  return days.length >= leastSeen ? middle(days) : 0;
};
