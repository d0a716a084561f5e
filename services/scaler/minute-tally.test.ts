import { expect } from "chai";
import { monday } from "./fixtures/loads.ts";
import { type EndedMinute, MinuteTally } from "./minute-tally.ts";

/** A function followed second by second from a second of monday's first minute on. */
class Watch {
  readonly tally = new MinuteTally();
  readonly ended: EndedMinute[] = [];
  readonly #counted = { started: 0, ended: 0, endedMs: 0 };
  second: number;

  constructor(second = 0) {
    this.second = second;
  }

  pass(seconds: number, started = 0, calls = 0): this {
    for (let at = 0; at < seconds; at += 1) {
      this.#counted.started += started;
      this.#counted.ended += started;
      this.#counted.endedMs += started * 40;
      const ended = this.tally.see(monday * 60_000 + this.second * 1000, { ...this.#counted }, calls);
      if (ended) this.ended.push(ended);
      this.second += 1;
    }
    return this;
  }

  get loads() {
    return this.ended.flatMap(({ load }) => load ?? []);
  }
}

describe("MinuteTally", () => {
  it("sums up a minute once it is over: calls, the most at a time, the mean duration, the first and last second", () => {
    const watch = new Watch().pass(5).pass(3, 2, 4).pass(52).pass(1);
    expect(watch.loads).to.deep.equal([
      { minute: monday, quiet: 0, started: 6, peak: 4, meanMs: 40, first: 5, last: 7 },
    ]);
  });

  it("counts the whole minutes before it in which nobody called", () => {
    const watch = new Watch(30)
      .pass(30)
      .pass(5 * 60)
      .pass(1, 1)
      .pass(60);
    expect(watch.loads).to.deep.equal([
      { minute: monday + 6, quiet: 5, started: 1, peak: 1, meanMs: 40, first: 0, last: 0 },
    ]);
    expect(watch.ended.map(({ minute }) => minute - monday)).to.deep.equal([1, 2, 3, 4, 5, 6]);
  });

  it("counts none that it did not see from its beginning on, a machine that slept included", () => {
    const watch = new Watch().pass(5 * 60);
    watch.second += 600;
    watch.pass(61, 1).pass(60, 1);
    expect(watch.loads.map(({ quiet }) => quiet)).to.deep.equal([0, 0]);
  });

  it("tells a minute in which a call only went on", () =>
    expect(new Watch().pass(60, 0, 1).pass(1).loads[0]).to.include({ started: 0, peak: 1 }));

  it("tells every six hours that nobody has called", () => {
    const watch = new Watch().pass(12 * 3600 + 1);
    expect(watch.loads.map(({ minute, quiet, started }) => [minute - monday, quiet, started])).to.deep.equal([
      [359, 358, 0],
      [719, 359, 0],
    ]);
  });

  it("stands while a clock that was set back comes to where it was", () => {
    const watch = new Watch(600).pass(30, 1);
    watch.second -= 300;
    watch.pass(300, 1).pass(31);
    expect(watch.loads.map(({ minute, started }) => [minute - monday, started])).to.deep.equal([[10, 330]]);
  });

  it("knows when a call was last seen to begin", () =>
    expect(new Watch().pass(3, 1).pass(9).tally.calledMs).to.equal(monday * 60_000 + 2000));
});
