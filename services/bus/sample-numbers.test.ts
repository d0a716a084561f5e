import { expect } from "chai";
import { type SampleNumbers, takeNumber } from "./sample-numbers.ts";

/** The numbers that were taken for new ones. */
const takeAll = (numbers: readonly number[]): readonly number[] => {
  let known: SampleNumbers | undefined;
  return numbers.filter((n) => {
    const next = takeNumber(known, n);
    known = next ?? known;
    return next !== undefined;
  });
};

describe("takeNumber()", () => {
  for (const [what, numbers, taken] of [
    ["each in order", [1, 2, 3], [1, 2, 3]],
    ["from the middle on", [7, 8], [7, 8]],
    ["a repeat once", [1, 2, 2, 1, 3], [1, 2, 3]],
    ["what was lost and comes later, once", [1, 4, 2, 2, 3, 3, 5], [1, 4, 2, 3, 5]],
    ["all again after a loss, those that had not come", [1, 2, 5, 1, 2, 3, 4, 5, 6], [1, 2, 5, 3, 4, 6]],
    ["nothing from before the first", [7, 6, 8], [7, 8]],
  ] as const)
    it(`takes ${what}`, () => expect(takeAll(numbers)).to.deep.equal(taken));

  it("remembers a bounded number of losses, because a function may send any number", () => {
    const known = takeNumber(takeNumber(undefined, 1), 1e9);
    expect(known?.missing).to.have.length(64);
    expect(takeNumber(known, 5)).to.equal(undefined);
  });
});
