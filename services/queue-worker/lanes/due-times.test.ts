import { expect } from "chai";
import { collect } from "../../../test/support/collector.ts";
import { createDueTimes } from "./due-times.ts";

describe("createDueTimes()", () => {
  it("wakes with each item when its time has come, and not before", async () => {
    const woken = collect<string>();
    const atMs: number[] = [];
    const times = createDueTimes<string>((item) => {
      atMs.push(Date.now());
      woken.push(item);
    });
    const startMs = Date.now();
    times.add("late", startMs + 200);
    times.add("soon", startMs + 60);
    times.add("past", startMs - 1000);
    expect(await woken.reach(3)).to.deep.equal(["past", "soon", "late"]);
    expect((atMs[1] ?? 0) - startMs).to.be.at.least(60);
    expect((atMs[2] ?? 0) - startMs).to.be.at.least(200);
    times.close();
  });

  it("wakes once for what falls due together: a hundred thousand retries take as little room as one", async () => {
    const woken = collect<string>();
    const times = createDueTimes<string>(woken.push, () => now);
    let now = 1_000_000;
    for (let at = 0; at < 100_000; at += 1) times.add("f", now + 1000);
    times.add("end", now + 2000);
    now += 3000;
    expect(await woken.until((all) => all.includes("end"), "the last")).to.deep.equal(["f", "end"]);
    times.close();
  });

  it("wakes nobody when it is closed", async () => {
    const woken = collect<string>();
    const times = createDueTimes<string>(woken.push);
    const other = createDueTimes<string>(woken.push);
    times.add("a", Date.now());
    times.close();
    other.add("b", Date.now() + 100);
    expect(await woken.reach(1)).to.deep.equal(["b"]);
    other.close();
  });
});
