const minuteMs = 60_000;

/** When the next call is to be expected, by the time since the last one was begun, in milliseconds. */
export interface GapWindow {
  readonly fromMs: number;
  readonly untilMs: number;
}

// Gaps that are longer have their reason in the hour or the day: that is the rhythm's to tell.
const longestGapMs = 4 * 60 * minuteMs;
const leastGaps = 5;
const head = 0.05;
const tail = 0.95;
const margin = 0.1;
// A window as wide as that costs little, however little it says.
const alwaysWorthMs = 10 * minuteMs;

/**
 * The histogram policy of Shahrad et al., "Serverless in the Wild" (USENIX ATC 2020), §4.2: what the head and the tail of
 * the idle times are, less and more a tenth, is when to have a replica and how long to keep it. It is applied to the gaps that
 * outlast the time for which the function is kept anyway, because only those end in a cold start; of few gaps the
 * shortest and the longest are left out; and instead of by the variation of its bins it is trusted when at least half of
 * a gap can be slept through: a wider window would be no forecast, but a longer time to keep. Undefined where it says nothing.
 */
export const findGapWindow = (gapsMs: readonly number[], keptMs: number): GapWindow | undefined => {
  const outlasting = gapsMs.filter((gap) => gap > keptMs);
  const gaps = outlasting.filter((gap) => gap <= longestGapMs).toSorted((a, b) => a - b);
  if (gaps.length < leastGaps || gaps.length * 2 < outlasting.length) return undefined;
  const last = gaps.length - 1;
  const fromMs = (gaps[Math.ceil(last * head)] ?? 0) * (1 - margin);
  const untilMs = (gaps[Math.floor(last * tail)] ?? 0) * (1 + margin);
  return untilMs - fromMs <= Math.max(alwaysWorthMs, untilMs / 2) ? { fromMs, untilMs } : undefined;
};
