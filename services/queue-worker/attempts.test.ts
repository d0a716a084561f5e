import { expect } from "chai";
import { type Attempt, maxAttemptsKept } from "../../schemas/call.ts";
import { isSuperseded, lastFreeWaitMs, nextNumber, putAttempt, reasonToStop } from "./attempts.ts";

const ended = (number: number, more: Partial<Attempt> = {}): Attempt => ({
  number,
  startedMs: number * 1000,
  endedMs: number * 1000 + 100,
  status: 500,
  ...more,
});
const running = (number: number): Attempt => ({ number, startedMs: number * 1000 });
const free = (number: number): Attempt => ({
  number,
  startedMs: number * 1000,
  endedMs: number * 1000 + 100,
  error: { code: "no_replica", message: "none" },
  isFree: true,
});

describe("nextNumber()", () => {
  for (const [what, attempts, number] of [
    ["is 1 at first", [], 1],
    ["follows an attempt that counts", [ended(1), ended(2)], 3],
    ["is that of a free attempt, which does not count", [ended(1), free(2)], 2],
    ["follows an attempt whose worker was lost", [running(1)], 2],
  ] as const)
    it(what, () => expect(nextNumber({ attempts })).to.equal(number));
});

describe("putAttempt()", () => {
  it("puts an attempt in the place of the free one before it, so that hours of those push nothing out", () => {
    let attempts: readonly Attempt[] = [ended(1)];
    for (let count = 0; count < 500; count += 1) attempts = putAttempt(attempts, free(2));
    expect(putAttempt(attempts, ended(2))).to.deep.equal([ended(1), ended(2)]);
  });

  it("keeps the latest, and their numbers", () => {
    let attempts: readonly Attempt[] = [];
    for (let number = 1; number <= maxAttemptsKept + 5; number += 1) attempts = putAttempt(attempts, ended(number));
    expect(attempts).to.have.length(maxAttemptsKept);
    expect(attempts[0]?.number).to.equal(6);
    expect(nextNumber({ attempts })).to.equal(maxAttemptsKept + 6);
  });
});

describe("isSuperseded()", () => {
  for (const [what, attempts, mine, expected] of [
    ["no, where there is none", [], running(1), false],
    ["no, by itself", [running(1)], running(1), false],
    ["no, by the one before", [ended(1)], running(2), false],
    ["no, by the free one in whose place it is", [free(1)], running(1), false],
    ["yes, by a later one", [ended(1), running(2)], running(1), true],
    ["yes, by somebody else's of the same number", [{ ...running(1), startedMs: 5 }], running(1), true],
  ] as const)
    it(what, () => expect(isSuperseded(attempts, mine)).to.equal(expected));
});

describe("lastFreeWaitMs()", () => {
  it("is how long was waited after a free attempt", () => {
    expect(lastFreeWaitMs({ attempts: [free(1)], nextMs: 2100 })).to.equal(1000);
  });
  it("is 0 after an attempt that counts, and at first", () => {
    expect(lastFreeWaitMs({ attempts: [ended(1)], nextMs: 2100 })).to.equal(0);
    expect(lastFreeWaitMs({ attempts: [] })).to.equal(0);
  });
});

describe("reasonToStop()", () => {
  it("is none while attempts are left", () => {
    expect(reasonToStop({ attempts: [] }, 1)).to.equal(undefined);
    expect(reasonToStop({ attempts: [ended(1)] }, 2)).to.equal(undefined);
    expect(reasonToStop({ attempts: [free(1)] }, 1)).to.equal(undefined);
  });
  it("is that the worker was lost, where the last attempt has no end", () => {
    expect(reasonToStop({ attempts: [ended(1), running(2)] }, 2)).to.deep.equal({
      code: "internal",
      message: "the queue-worker that ran the call was lost in the last of 2 attempts",
    });
  });
  it("is what the last attempt came to, where fewer are allowed than there were", () => {
    const message = "the function answered 500 in the last of 3 attempts";
    expect(reasonToStop({ attempts: [ended(3)] }, 2)).to.deep.equal({ code: "function_failed", message });
    const error = { code: "replica_lost", message: "gone" } as const;
    expect(reasonToStop({ attempts: [{ ...running(3), endedMs: 5, error }] }, 2)).to.deep.equal(error);
  });
});
