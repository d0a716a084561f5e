import { expect } from "chai";
import type { CallRecord, RecordState } from "../../schemas/call.ts";
import { BuskerError } from "../../schemas/errors.ts";
import type { CallRecords } from "../bus/call-records.ts";
import type { Bus } from "../bus/connection.ts";
import { createCancelCall } from "./cancel-call.ts";

/** One record that a queue-worker moves on between this side's first reading and writing. */
const openRace = (next: RecordState) => {
  const subjects: string[] = [];
  let state: RecordState = "running";
  let seq = 1;
  const records: CallRecords = {
    read: async (id) => {
      const record = { id, function: { namespace: "dev", name: "echo" }, state, attempts: [] };
      const found = { record: record as unknown as CallRecord, request: Buffer.of(), response: Buffer.of(), seq };
      if (seq === 1) {
        seq = 2;
        state = next;
      }
      return found;
    },
    write: async ({ record }, expected) => {
      if (expected !== seq) throw new BuskerError("conflict", "somebody was faster");
      state = record.state;
      seq += 1;
      return seq;
    },
  };
  const bus = { source: "/test", nc: { publish: (subject: string) => subjects.push(subject) } } as unknown as Bus;
  return {
    cancel: createCancelCall(bus, records),
    subjects,
    state: () => state,
  };
};

describe("createCancelCall()", () => {
  it("cancels a call that has moved on meanwhile and is not over", async () => {
    const { cancel, subjects, state } = openRace("retrying");
    await cancel("a");
    expect(state()).to.equal("cancelled");
    expect(subjects).to.deep.equal(["busker.call.cancelled.dev.echo", "busker.cancel.dev.echo"]);
  });

  it("says that a call is over that has ended meanwhile, and tells nobody", async () => {
    const { cancel, subjects, state } = openRace("succeeded");
    const error = await cancel("a").catch((cause: unknown) => cause);
    expect(error).to.include({ code: "call_over" });
    expect([state(), subjects]).to.deep.equal(["succeeded", []]);
  });

  it("has cancelled a call that somebody else has cancelled meanwhile", async () => {
    const { cancel, state } = openRace("cancelled");
    await cancel("a");
    expect(state()).to.equal("cancelled");
  });
});
