import { expect } from "chai";
import { describeEnd, type EndFacts, formatBytes, readFrames } from "./container-end.ts";

const facts: EndFacts = { exitCode: 0, outOfMemory: false, memoryLimit: 0, error: "", output: "" };

describe("describeEnd()", () => {
  const cases: readonly (readonly [string, Partial<EndFacts>, object])[] = [
    ["an end in order", {}, { code: 0, signal: null, output: "" }],
    ["a failure with its last words", { exitCode: 1, output: "no bus" }, { code: 1, signal: null, output: "no bus" }],
    ["a signal, as an init reports it", { exitCode: 137 }, { code: null, signal: "SIGKILL", output: "" }],
    ["an exit code that is no signal's", { exitCode: 255 }, { code: 255, signal: null, output: "" }],
    ["one of which nobody knows", { exitCode: undefined }, { code: null, signal: null, output: "" }],
    [
      "memory that ran out, before all else",
      { exitCode: 137, outOfMemory: true, memoryLimit: 128 * 2 ** 20, error: "x" },
      { code: null, signal: "SIGKILL", output: "", reason: "out of memory: the limit is 128Mi" },
    ],
    [
      "memory that ran out without a limit",
      { exitCode: 1, outOfMemory: true },
      { code: 1, signal: null, output: "", reason: "out of memory: the machine has none left" },
    ],
    [
      "the engine's own words",
      { exitCode: 127, error: "exec: not found" },
      { code: 127, signal: null, output: "", reason: "exec: not found" },
    ],
  ];
  for (const [what, own, expected] of cases)
    it(`tells of ${what}`, () => expect(describeEnd({ ...facts, ...own })).to.deep.equal(expected));
});

describe("formatBytes()", () => {
  for (const [bytes, text] of [
    [134217728, "128Mi"],
    [1073741824, "1Gi"],
    [1536 * 1024 * 1024, "1536Mi"],
    [1024, "1Ki"],
    [64_000_000, "62500Ki"],
    [64_000_001, "64000001"],
  ] as const)
    it(`writes ${bytes} as ${text}`, () => expect(formatBytes(bytes)).to.equal(text));
});

describe("readFrames()", () => {
  const frame = (text: string, stream = 1): Buffer => {
    const head = Buffer.from([stream, 0, 0, 0, 0, 0, 0, 0]);
    head.writeUInt32BE(Buffer.byteLength(text), 4);
    return Buffer.concat([head, Buffer.from(text)]);
  };

  it("joins the frames of both streams", () => {
    expect(readFrames(Buffer.concat([frame("a\n"), frame("é\n", 2)]))).to.equal("a\né\n");
  });

  it("gives what there is of a frame that was cut off, and nothing for none", () => {
    expect(readFrames(Buffer.concat([frame("a"), frame("long").subarray(0, 10)]))).to.equal("alo");
    expect(readFrames(Buffer.alloc(0))).to.equal("");
  });
});
