import { expect } from "chai";
import { createMarkerReader } from "./marker-reader.ts";

const stream = "some output, and an M that begins no marker\nMARK 137\nlate";

const readInPieces = (size: number): { data: string; status: number | undefined } => {
  let data = "";
  let status: number | undefined;
  const reader = createMarkerReader(Buffer.from("MARK "), (bytes) => (data += bytes.toString()));
  for (let at = 0; at < stream.length && status === undefined; at += size)
    status = reader.push(Buffer.from(stream.slice(at, at + size)));
  return { data, status };
};

describe("createMarkerReader()", () => {
  for (const size of [1, 2, 3, 5, 7, 48, 1000])
    it(`finds the marker in pieces of ${size} bytes`, () => {
      expect(readInPieces(size)).to.deep.equal({ data: "some output, and an M that begins no marker\n", status: 137 });
    });

  it("gives data out at once, because a line of a log must not wait for the next", () => {
    let data = "";
    createMarkerReader(Buffer.from("MARK "), (bytes) => (data += bytes.toString())).push(Buffer.from("line\n"));
    expect(data).to.equal("line\n");
  });
});
