import { expect } from "chai";
import type { RecordState } from "../../schemas/call.ts";
import { BuskerError } from "../../schemas/errors.ts";
import { within } from "../../test/support/collector.ts";
import { eventually } from "../../test/support/platform.ts";
import type { FoundRecord } from "./call-records.ts";
import type { Bus } from "./connection.ts";
import { openEndWatch } from "./watch-ends.ts";

/** A bus that says nothing but that the server is back, and one record. */
const openSilent = () => {
  const listeners = new Set<(connected: boolean) => void>();
  const answers: (RecordState | Error)[] = [];
  let reads = 0;
  const bus = {
    nc: { subscribe: () => ({ unsubscribe: () => {} }) },
    onChange: (listener: (connected: boolean) => void) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  } as unknown as Bus;
  const records = {
    read: async (id: string): Promise<FoundRecord> => {
      reads += 1;
      const answer = answers.length > 1 ? answers.shift() : answers[0];
      if (answer instanceof Error) throw answer;
      return { record: { id, state: answer }, seq: 1 } as FoundRecord;
    },
  };
  return {
    watch: openEndWatch(bus, records),
    answers,
    reads: () => reads,
    tell: (connected: boolean) => listeners.forEach((listener) => listener(connected)),
  };
};

const away = new BuskerError("bus_unavailable", "the bus is away");
const never = new AbortController().signal;

describe("openEndWatch()", () => {
  it("reads again when the server is back, as an event may have been missed meanwhile", async () => {
    const { watch, answers, reads, tell } = openSilent();
    answers.push("running", "succeeded");
    const waiting = watch.wait("a", 60_000, never);
    await eventually("it has read", () => (reads() === 1 ? true : undefined));
    tell(false);
    tell(true);
    expect((await within(waiting, "the end"))?.record.state).to.equal("succeeded");
    expect([reads(), watch.count()]).to.deep.equal([2, 0]);
  });

  it("goes on when the server is back but cannot read yet", async () => {
    const { watch, answers, reads, tell } = openSilent();
    answers.push("running", away, "succeeded");
    const waiting = watch.wait("a", 60_000, never);
    await eventually("it has read", () => (reads() === 1 ? true : undefined));
    tell(true);
    expect((await within(waiting, "the end"))?.record.state).to.equal("succeeded");
  });

  it("rejects at once when it cannot read at the beginning, and forgets it", async () => {
    const { watch, answers } = openSilent();
    answers.push(away);
    const error = await watch.wait("a", 60_000, never).catch((cause: unknown) => cause);
    expect([error, watch.count()]).to.deep.equal([away, 0]);
  });

  it("reads twice and no more when nothing happens: at the beginning and when the time is over", async () => {
    const { watch, answers, reads } = openSilent();
    answers.push("running");
    expect((await watch.wait("a", 30, never))?.record.state).to.equal("running");
    expect(reads()).to.equal(2);
  });
});
