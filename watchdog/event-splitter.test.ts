import { expect } from "chai";
import { createEventSplitter } from "./event-splitter.ts";

/** The blocks of these chunks, each as its own id and its lines. */
const split = (chunks: readonly Uint8Array[], maxBytes = 1000): string[] => {
  const splitter = createEventSplitter(maxBytes);
  return chunks.flatMap((chunk) =>
    [...splitter.push(chunk)].map(({ lines, ownId }) => `${ownId.toString()}|${lines.toString()}`),
  );
};

const cases: readonly (readonly [string, string, readonly string[]])[] = [
  ["one event", "data: a\n\n", ["|data: a\n"]],
  ["events whose lines end in CR LF", "data: a\r\n\r\ndata: b\r\n\r\n", ["|data: a\n", "|data: b\n"]],
  ["events whose lines end in CR", "data: a\r\rdata: b\r\r", ["|data: a\n", "|data: b\n"]],
  ["mixed line ends", "data: a\rdata: b\r\ndata: c\n\r\ndata: d\n\r", ["|data: a\ndata: b\ndata: c\n", "|data: d\n"]],
  ["a byte order mark, which is no part of it", "\ufeffdata: a\n\n", ["|data: a\n"]],
  ["a byte order mark only at the beginning", "data: a\n\n\ufeffdata: b\n\n", ["|data: a\n", "|\ufeffdata: b\n"]],
  ["blank lines between events", "\n\n\ndata: a\n\n\n\r\n\rdata: b\n\n", ["|data: a\n", "|data: b\n"]],
  [
    "an id of its own, which holds until the next",
    "id: 7\ndata: a\n\ndata: b\n\nid:8\ndata: c\n\n",
    ["7|data: a\n", "7|data: b\n", "8|data: c\n"],
  ],
  [
    "an id that takes the last one back",
    "id: 7\ndata: a\n\nid\ndata: b\n\nid:\ndata: c\n\n",
    ["7|data: a\n", "|data: b\n", "|data: c\n"],
  ],
  ["an id behind the data", "data: a\nid: x:y z\n\n", ["x:y z|data: a\n"]],
  ["an id with a NUL, which is none", "id: 7\ndata: a\n\nid: 8\u0000\ndata: b\n\n", ["7|data: a\n", "7|data: b\n"]],
  ["a block that only sets an id", "id: 7\n\n", ["7|"]],
  ["other fields that begin like an id", "idx: 7\nids\ndata: a\n\n", ["|idx: 7\nids\ndata: a\n"]],
  ["a retry time by itself", "retry: 100\n\ndata: a\n\n", ["|retry: 100\n", "|data: a\n"]],
  ["a comment by itself, at once", ": alive\n", ["|: alive\n"]],
  ["a comment before an event", ": hello\ndata: a\n\n", ["|: hello\n", "|data: a\n"]],
  ["a comment within an event", "data: a\n: hello\ndata: b\n\n", ["|data: a\n: hello\ndata: b\n"]],
  ["what has no blank line after it: nothing", "data: a\n\ndata: b\n", ["|data: a\n"]],
  ["several bytes a character", "data: äöü😀\n\n", ["|data: äöü😀\n"]],
];

describe("createEventSplitter()", () => {
  for (const [what, text, blocks] of cases) {
    const bytes = Buffer.from(text);
    it(`takes ${what}`, () => {
      expect(split([bytes])).to.deep.equal(blocks);
    });
    it(`takes ${what}, split at any byte`, () => {
      for (let at = 0; at <= bytes.length; at += 1)
        expect(split([bytes.subarray(0, at), bytes.subarray(at)]), `split at ${at}`).to.deep.equal(blocks);
    });
    it(`takes ${what}, byte by byte`, () => {
      expect(split([...bytes].map((byte) => Buffer.from([byte])))).to.deep.equal(blocks);
    });
  }

  const tooLarge: readonly (readonly [string, readonly string[]])[] = [
    ["a line that does not end", ["data: ", "x".repeat(20)]],
    ["a line", [`data: ${"x".repeat(20)}\n`]],
    ["many lines", Array.from({ length: 5 }, () => "data\n")],
  ];
  for (const [what, chunks] of tooLarge)
    it(`refuses an event of more bytes than may travel: ${what}`, () => {
      const buffers = chunks.map((chunk) => Buffer.from(chunk));
      expect(() => split(buffers, 20))
        .to.throw("an event of the function's stream is larger than 20 bytes")
        .with.property("code", "response_too_large");
    });

  it("refuses an id longer than a request's head should hold", () => {
    expect(() => split([Buffer.from(`id: ${"x".repeat(4097)}\n`)], 10_000))
      .to.throw("an event's id is 4097 bytes long")
      .with.property("code", "response_too_large");
  });

  it("takes events without end that are each small enough", () => {
    const event = Buffer.from("data: xxxxxxxxxxx\n\n");
    expect(
      split(
        Array.from({ length: 100 }, () => event),
        20,
      ),
    ).to.have.length(100);
  });

  it("does not use a chunk's memory again, because a socket reads into one buffer", () => {
    const splitter = createEventSplitter(1000);
    const buffer = Buffer.from("data: a\nid: 1\nda");
    expect([...splitter.push(buffer)]).to.deep.equal([]);
    buffer.fill("z");
    const [block] = splitter.push(Buffer.from("ta: b\n\n"));
    expect(block?.lines.toString()).to.equal("data: a\ndata: b\n");
    expect(block?.ownId.toString()).to.equal("1");
  });
});
