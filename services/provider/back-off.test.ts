import { expect } from "chai";
import { afterCrash, type BackOff } from "./back-off.ts";

const crash = (more: { signal?: NodeJS.Signals; readyForMs?: number; revision?: string } = {}) => ({
  revision: "a",
  signal: null,
  readyForMs: 0,
  nowMs: 1000,
  ...more,
});

describe("afterCrash()", () => {
  it("doubles the wait from 200 ms to 30 s, because a function that fails at once would burn the machine", () => {
    const waits: number[] = [];
    let backOff: BackOff | undefined;
    for (let times = 0; times < 10; times += 1) {
      backOff = afterCrash(backOff, crash());
      waits.push((backOff?.nextTryAtMs ?? 0) - 1000);
    }
    expect(waits).to.deep.equal([200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
  });

  it("forgets what went before when the replica had been ready for ten seconds, because it does work", () => {
    expect(afterCrash({ revision: "a", failures: 5, nextTryAtMs: 0 }, crash({ readyForMs: 10_000 }))).to.equal(
      undefined,
    );
  });

  it("begins anew for another revision, because that is other code", () => {
    expect(afterCrash({ revision: "b", failures: 5, nextTryAtMs: 0 }, crash())?.failures).to.equal(1);
  });

  it("does not count SIGXCPU, because that cut a call at its deadline", () => {
    const before = { revision: "a", failures: 2, nextTryAtMs: 5 };
    expect(afterCrash(before, crash({ signal: "SIGXCPU" }))).to.equal(before);
    expect(afterCrash(undefined, crash({ signal: "SIGXCPU" }))).to.equal(undefined);
  });
});
