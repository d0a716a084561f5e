import { expect } from "chai";
import { day, monday } from "../fixtures/loads.ts";
import { expectedAt, type Needed } from "./rhythm.ts";

const nine = 9 * 60;
const weekday = (minute: number): number => Math.floor((minute - monday) / day) % 7;
const watched =
  (days: number, needed: (minute: number) => number, missing: readonly number[] = []): Needed =>
  (minute) => {
    const at = Math.floor((minute - monday) / day);
    return at < 0 || at >= days || missing.includes(at) ? undefined : needed(minute);
  };
const atNine = (minute: number): number => (minute % day === nine ? 3 : 0);
const onWorkdays = (minute: number): number => (weekday(minute) < 5 ? atNine(minute) : 0);
const onMondays = (minute: number): number => (weekday(minute) === 0 ? atNine(minute) : 0);
const drifting = (minute: number): number => {
  const drift = [-2, 1, 2, 0, -1][Math.floor(minute / day) % 5] ?? 0;
  return minute % day === nine + drift ? 3 : 0;
};
const once = (minute: number): number => (minute === monday + 2 * day + nine ? 20 : 0);
/** In each minute of a day on one day of eight. */
const irregular = (minute: number): number => (minute % 8 === Math.floor(minute / day) % 8 && minute % 5 === 0 ? 1 : 0);

describe("expectedAt()", () => {
  const cases: readonly (readonly [string, Needed, number, number, number])[] = [
    ["a peak each day, after three", watched(3, atNine), 3, nine, 3],
    ["a peak each day, after two", watched(2, atNine), 2, nine, 0],
    ["a peak each day, at another hour", watched(7, atNine), 7, nine + 60, 0],
    ["a peak that drifts by two minutes", watched(10, drifting), 10, nine, 3],
    ["a peak each day, some days of which nobody has watched", watched(9, atNine, [1, 2, 4, 5, 7]), 9, nine, 3],
    ["a peak each day, after a pause of nobody watching for ten", watched(4, atNine), 14, nine, 3],
    ["workdays, on the first Saturday", watched(5, onWorkdays), 5, nine, 3],
    ["workdays, on the fourth Saturday", watched(26, onWorkdays), 26, nine, 0],
    ["workdays, on the fourth Monday", watched(21, onWorkdays), 21, nine, 3],
    ["Mondays, on the third", watched(14, onMondays), 14, nine, 0],
    ["Mondays, on the fourth", watched(21, onMondays), 21, nine, 3],
    ["Mondays, on the fourth Tuesday", watched(22, onMondays), 22, nine, 0],
    ["a single burst, the day after", watched(3, once), 3, nine, 0],
    ["a single burst, the week after", watched(9, once), 9, nine, 0],
    ["nothing that recurs", watched(21, irregular), 21, nine, 0],
    ["nothing known", () => undefined, 30, nine, 0],
  ];
  for (const [what, needed, days, minute, expected] of cases)
    it(`is ${expected}: ${what}`, () => expect(expectedAt(needed, monday + days * day + minute)).to.equal(expected));

  it("forgets a rhythm that has ended within two weeks", () => {
    const ended = watched(60, (minute) => (minute < monday + 28 * day ? atNine(minute) : 0));
    expect(expectedAt(ended, monday + 29 * day + nine)).to.equal(3);
    expect(expectedAt(ended, monday + 50 * day + nine)).to.equal(0);
  });
});
