import { expect } from "chai";
import type { FunctionStatusRecord } from "../../schemas/function.ts";
import { silentLog } from "../runtime/log.ts";
import { createStatusWriter } from "./status-writer.ts";

const status = (id: string): FunctionStatusRecord => ({
  replicas: [{ id, state: "ready", revision: "r", since: "2026-01-01T00:00:00Z" }],
});

const createBucket = () => {
  const writes: string[] = [];
  const faults: Error[] = [];
  const write = async (text: string): Promise<void> => {
    const fault = faults.shift();
    if (fault) throw fault;
    writes.push(text);
  };
  return {
    writes,
    faults,
    put: async (key: string, value: FunctionStatusRecord) => {
      await write(`${key} ${value.replicas[0]?.id}`);
      return 1;
    },
    remove: (key: string) => write(`${key} removed`),
  };
};

describe("createStatusWriter()", () => {
  it("writes only what has changed, because every gateway reads it", async () => {
    const bucket = createBucket();
    const writer = createStatusWriter(bucket, silentLog);
    writer.write("f", status("a"));
    await writer.settled();
    writer.write("f", status("a"));
    await writer.settled();
    writer.write("f", undefined);
    await writer.settled();
    expect(bucket.writes).to.deep.equal(["f a", "f removed"]);
  });

  it("writes the newest of what came while it wrote, because the rest is history", async () => {
    const bucket = createBucket();
    const writer = createStatusWriter(bucket, silentLog);
    for (const id of ["a", "b", "c"]) writer.write("f", status(id));
    await writer.settled();
    expect(bucket.writes).to.deep.equal(["f a", "f c"]);
  });

  it("tries again with the next call what could not be written", async () => {
    const bucket = createBucket();
    bucket.faults.push(new Error("the bus is away"));
    const writer = createStatusWriter(bucket, silentLog);
    writer.write("f", status("a"));
    await writer.settled();
    expect(bucket.writes).to.deep.equal([]);
    writer.write("f", status("a"));
    await writer.settled();
    expect(bucket.writes).to.deep.equal(["f a"]);
  });
});
