import { expect } from "chai";
import { readSpans } from "./read-spans.ts";
import { isSampled } from "./span.ts";

const low = `${"f".repeat(19)}${"0".repeat(13)}`;
const middle = `${"0".repeat(19)}8${"0".repeat(12)}`;
const high = `${"0".repeat(19)}${"f".repeat(13)}`;

describe("isSampled()", () => {
  const cases = [
    { ratio: 1, isParentBased: true, traceId: high, expected: true },
    { ratio: 0, isParentBased: true, traceId: low, expected: false },
    { ratio: 0.5, isParentBased: true, traceId: low, expected: true },
    { ratio: 0.5, isParentBased: true, traceId: middle, expected: false },
    { ratio: 0, isParentBased: true, traceId: low, parent: true, expected: true },
    { ratio: 1, isParentBased: true, traceId: low, parent: false, expected: false },
    { ratio: 1, isParentBased: false, traceId: low, parent: false, expected: true },
    { ratio: 0, isParentBased: false, traceId: low, parent: true, expected: false },
  ];
  for (const { expected, traceId, parent, ...policy } of cases)
    it(`is ${expected} for ${JSON.stringify(policy)} with ${traceId} whose parent is ${parent}`, () =>
      expect(isSampled(policy, traceId, parent === undefined ? undefined : { isSampled: parent })).to.equal(expected));
});

describe("readSpans()", () => {
  const span = {
    traceId: low,
    spanId: "b7ad6b7169203331",
    name: "resize",
    kind: "server",
    startMs: 1_769_860_800_123.25,
    endMs: 1_769_860_800_124,
    attributes: { "faas.coldstart": true, n: 1, text: "a" },
  };
  const read = (more: object): unknown => readSpans(JSON.stringify({ spans: [{ ...span, ...more }], dropped: 0 }));

  it("gives what a replica tells", () => expect(read({})).to.deep.equal({ spans: [span], dropped: 0 }));

  const refused = [
    { traceId: "1" },
    { spanId: 7 },
    { parentId: "x" },
    { kind: "other" },
    { name: "a".repeat(2000) },
    { startMs: "now" },
    { endMs: -1 },
    { attributes: { list: [1] } },
    { attributes: { text: "a".repeat(2000) } },
    { attributes: Object.fromEntries(Array.from({ length: 40 }, (_, at) => [`a${at}`, at])) },
    { error: 1 },
    { links: [{ traceId: low }] },
  ];
  for (const more of refused)
    it(`refuses ${JSON.stringify(more).slice(0, 60)}`, () => expect(read(more)).to.equal(undefined));
  for (const text of ["", "null", "[]", "{}", '{"spans":[]}', '{"spans":1,"dropped":0}'])
    it(`refuses ${JSON.stringify(text)}`, () => expect(readSpans(text)).to.equal(undefined));
});
