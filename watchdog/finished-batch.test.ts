import { expect } from "chai";
import { FinishedBatch } from "./finished-batch.ts";

const read = (data: Uint8Array): unknown => JSON.parse(Buffer.from(data).toString("utf8"));

describe("FinishedBatch", () => {
  const ids = [
    "0d9c6c2e-5f0e-4b7c",
    "",
    'a "quoted" \\ one',
    "ünï\u0000\r\n😀",
    "\ud800",
    "x".repeat(128),
    "\u0001".repeat(128),
  ];

  it("is the JSON of its calls, whatever their ids are, because ids come from anybody", () => {
    const batch = new FinishedBatch("fn-1");
    const calls = ids.map((id, at) => ({
      id,
      status: 200 + at,
      startedMs: 1_769_860_800_123 + at,
      durationMs: 0.125 * at,
    }));
    for (const call of calls) batch.add(call);
    expect(read(batch.take())).to.deep.equal({ replica: "fn-1", calls });
  });

  it("holds any number of calls, and nothing of them once they were taken", () => {
    const batch = new FinishedBatch("fn-1");
    for (const round of [5000, 3]) {
      expect(batch.isEmpty).to.equal(true);
      const calls = Array.from({ length: round }, (_, at) => ({
        id: `c${at}`,
        status: 200,
        startedMs: at,
        durationMs: 1,
      }));
      for (const call of calls) batch.add(call);
      expect(read(batch.take())).to.deep.equal({ replica: "fn-1", calls });
    }
  });

  it("gives bytes of their own, because the next calls are written while these are on their way", () => {
    const batch = new FinishedBatch("fn-1");
    batch.add({ id: "first", status: 200, startedMs: 1, durationMs: 1 });
    const first = batch.take();
    batch.add({ id: "other", status: 500, startedMs: 2, durationMs: 2 });
    expect(read(first)).to.deep.nested.include({ "calls[0].id": "first" });
  });
});
