import { expect } from "chai";
import { type ComparedResponse, compareResponses } from "./compare-responses.ts";

const answer = (more: Partial<ComparedResponse> & { text?: string } = {}): ComparedResponse => ({
  state: "succeeded",
  status: 200,
  headers: { "Content-Type": "text/plain", "X-Call-Id": String(Math.random()), Date: String(Math.random()) },
  body: Buffer.from(more.text ?? "a\nb\nc\n"),
  ...more,
});

describe("compareResponses()", () => {
  const cases: readonly (readonly [string, ComparedResponse, ComparedResponse, readonly string[]])[] = [
    ["nothing where only date and call id differ", answer(), answer(), []],
    [
      "another status and state",
      answer(),
      answer({ status: 500, state: "dead" }),
      ["- 200 (succeeded)", "+ 500 (dead)"],
    ],
    [
      "headers that changed, came and went, whatever their case",
      answer({ headers: { "X-A": "1", "X-B": "2", "x-same": "s" } }),
      answer({ headers: { "x-a": "3", "X-C": ["4", "5"], "X-Same": "s" } }),
      ["- x-a: 1", "+ x-a: 3", "- x-b: 2", "+ x-c: 4, 5"],
    ],
    [
      "the lines of a text between those that are the same",
      answer({ text: "a\nb\nc\n" }),
      answer({ text: "a\nB\nB2\nc\n" }),
      ["body, from line 2 on:", "- b", "+ B", "+ B2"],
    ],
    [
      "a text that has become longer by what it ends with",
      answer({ text: "a\na" }),
      answer({ text: "a\na\na" }),
      ["body, from line 3 on:", "+ a"],
    ],
    [
      "bytes that are no text by size and digest",
      answer({ body: Buffer.from([255]) }),
      answer({ body: Buffer.from([254, 1]) }),
      ["- body: 1 bytes, SHA-256 a8100ae6aa1940d0", "+ body: 2 bytes, SHA-256 3e7e4cf8b7e91dc0"],
    ],
    ["that a body is not kept", answer({ body: undefined }), answer(), ["body: of the first is not kept"]],
    [
      "a call without an answer",
      { state: "dead", headers: {} },
      { state: "succeeded", status: 204, headers: {} },
      ["- dead, without an answer", "+ 204 (succeeded)"],
    ],
  ];
  for (const [what, before, after, lines] of cases)
    it(`tells ${what}`, () => {
      const found = compareResponses(before, after).map((line) => line.replace(/SHA-256 .{16}/, "SHA-256"));
      expect(found).to.deep.equal(lines.map((line) => line.replace(/SHA-256 .{16}/, "SHA-256")));
    });

  it("shortens what differs in many lines, because a terminal is no place for a book", () => {
    const text = Array.from({ length: 100 }, (_, at) => `line ${at}`).join("\n");
    const lines = compareResponses(answer({ text: "" }), answer({ text }));
    expect([lines.length, lines.at(-1)]).to.deep.equal([23, "+ … 80 more lines"]);
  });
});
