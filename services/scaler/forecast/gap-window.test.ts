import { expect } from "chai";
import { findGapWindow } from "./gap-window.ts";

const minutes = (...values: readonly number[]): readonly number[] => values.map((value) => value * 60_000);
const kept = 15 * 60_000;
const times = (count: number, value: number): readonly number[] => Array.from({ length: count }, () => value);

describe("findGapWindow()", () => {
  const cases: readonly (readonly [string, readonly number[], readonly [number, number] | undefined])[] = [
    ["one call an hour", minutes(...times(5, 60)), [54, 66]],
    ["one call an hour, too few yet", minutes(...times(4, 60)), undefined],
    ["bursts of calls, an hour apart", minutes(...times(6, 60).flatMap((gap) => [1, 2, 1, gap])), [54, 66]],
    ["one call an hour, one of which was missed", minutes(...times(9, 60), 120), [54, 66]],
    ["no gap that it is not kept through anyway", minutes(...times(50, 10)), undefined],
    ["any time from twenty minutes to four hours", minutes(20, 40, 70, 100, 130, 160, 190, 220, 240), undefined],
    ["a narrow range", minutes(16, 17, 18, 19, 20, 21, 16), [14.4, 22]],
    ["once a day", minutes(...times(20, 1440)), undefined],
    ["once an hour and mostly once a day", minutes(...times(5, 60), ...times(6, 1440)), undefined],
    ["nothing", [], undefined],
  ];
  for (const [what, gaps, window] of cases)
    it(`${window ? `is from ${window[0]} to ${window[1]} min` : "says nothing"}: ${what}`, () => {
      const found = findGapWindow(gaps, kept);
      if (!window) return expect(found).to.equal(undefined);
      expect(found?.fromMs).to.be.closeTo(window[0] * 60_000, 1);
      return expect(found?.untilMs).to.be.closeTo(window[1] * 60_000, 1);
    });
});
