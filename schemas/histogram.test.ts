import { expect } from "chai";
import { addHistogram, countOf, emptyHistogram, observe, timeBounds } from "./histogram.ts";

describe("observe()", () => {
  for (const [seconds, at] of [
    [0, 0],
    [0.001, 0],
    [0.0011, 1],
    [0.1, 6],
    [300, timeBounds.length - 1],
    [300.1, timeBounds.length],
    [Number.MAX_VALUE, timeBounds.length],
  ] as const)
    it(`puts ${seconds} s into class ${at}, because a bound belongs to its class`, () => {
      const histogram = emptyHistogram();
      observe(histogram, seconds);
      expect(histogram.counts).to.deep.equal([...Array.from({ length: at }, () => 0), 1]);
      expect(histogram.sum).to.equal(seconds);
    });
});

describe("addHistogram()", () => {
  it("adds the shorter to the longer and the longer to the shorter, because zeros at the end are left out", () => {
    const histogram = emptyHistogram();
    addHistogram(histogram, { counts: [1], sum: 0.5 });
    addHistogram(histogram, { counts: [1, 0, 2], sum: 1 });
    addHistogram(histogram, { counts: [0, 3], sum: 2 });
    expect(histogram).to.deep.equal({ counts: [2, 3, 2], sum: 3.5 });
    expect(countOf(histogram)).to.equal(7);
  });
});
