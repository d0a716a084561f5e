import { expect } from "chai";
import { createLineSplitter } from "./line-splitter.ts";

const split = (chunks: readonly string[], maxBytes = 100): string[] => {
  const lines: string[] = [];
  const splitter = createLineSplitter(maxBytes, (line) => lines.push(line));
  for (const chunk of chunks) splitter.push(Buffer.from(chunk, "latin1"));
  splitter.end();
  return lines;
};

const cases: readonly (readonly [string, readonly string[], readonly string[]])[] = [
  ["lines of one chunk", ["a\nb\n"], ["a", "b"]],
  ["a line that comes in pieces", ["a", "b", "c\nd"], ["abc", "d"]],
  ["empty lines", ["\n\n"], ["", ""]],
  ["a carriage return before the line end, also in another chunk", ["a\r\nb\r", "\n"], ["a", "b"]],
  ["a character cut in two by the pipe", ["\xc3", "\xa4\n"], ["ä"]],
  ["nothing", [], []],
];

describe("createLineSplitter()", () => {
  for (const [what, chunks, lines] of cases) it(`gives ${what}`, () => expect(split(chunks)).to.deep.equal(lines));

  it("cuts a line beyond the limit, because a function may never end it", () => {
    expect(split(["abcdefgh", "ij\nk\n"], 4)).to.deep.equal(["abcd", "efgh", "ij", "k"]);
    expect(split(["abcdefghij\n"], 4)).to.deep.equal(["abcd", "efgh", "ij"]);
  });
});
