import { expect } from "chai";
import { parseRange } from "./byte-range.ts";

const cases: readonly (readonly [string, number, ReturnType<typeof parseRange>])[] = [
  ["bytes=0-0", 10, { start: 0, length: 1 }],
  ["bytes=2-5", 10, { start: 2, length: 4 }],
  ["bytes=2-", 10, { start: 2, length: 8 }],
  ["bytes=2-99", 10, { start: 2, length: 8 }],
  ["bytes=-3", 10, { start: 7, length: 3 }],
  ["bytes=-99", 10, { start: 0, length: 10 }],
  ["Bytes = 1-1", 10, { start: 1, length: 1 }],
  ["bytes=10-", 10, "unsatisfiable"],
  ["bytes=99999999999999999999-", 10, "unsatisfiable"],
  ["bytes=-0", 10, "unsatisfiable"],
  ["bytes=0-", 0, "unsatisfiable"],
  ["bytes=-5", 0, undefined],
  ["bytes=5-2", 10, undefined],
  ["bytes=0-1,3-4", 10, undefined],
  ["bytes=-", 10, undefined],
  ["bytes=a-b", 10, undefined],
  ["lines=0-1", 10, undefined],
  ["", 10, undefined],
];

describe("parseRange()", () => {
  for (const [text, size, range] of cases)
    it(`reads ${JSON.stringify(text)} of ${size} bytes as ${JSON.stringify(range) ?? "all"}`, () => {
      expect(parseRange(text, size)).to.deep.equal(range);
    });
});
