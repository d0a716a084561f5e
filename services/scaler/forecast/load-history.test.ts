import { expect } from "chai";
import { day, logOf, monday } from "../fixtures/loads.ts";
import { LoadHistory } from "./load-history.ts";

const historyOf = (...args: Parameters<typeof logOf>): LoadHistory => {
  const history = new LoadHistory();
  for (const minute of logOf(...args)) history.add(minute);
  return history;
};
const hour = 60;
const hourly = (minute: number) => (minute % hour === 0 ? { first: 3, last: 7, started: 2 } : undefined);

describe("LoadHistory", () => {
  it("knows minutes with calls, minutes without, and those that nobody has watched", () => {
    const history = historyOf(
      { from: monday, until: monday + day },
      hourly,
      (minute) => minute < monday + 100 || minute > monday + 200,
    );
    expect(history.at(monday + hour)).to.deep.equal({ started: 2, peak: 1 });
    expect(history.at(monday + hour + 1)).to.equal(undefined);
    expect(history.at(monday + 1)).to.deep.equal({ started: 0, peak: 0 });
    expect(history.at(monday + 150)).to.equal(undefined);
    expect(history.at(monday + 230)).to.deep.equal({ started: 0, peak: 0 });
  });

  it("measures gaps from the last call of one minute to the first of another", () => {
    const history = historyOf({ from: monday, until: monday + 3 * hour }, hourly);
    expect(history.gaps).to.deep.equal([3_596_000, 3_596_000]);
  });

  it("takes no time for a gap in which it may have missed a call", () => {
    const history = historyOf({ from: monday, until: monday + 4 * hour }, hourly, (minute) => minute !== monday + 90);
    expect(history.gaps).to.deep.equal([3_596_000, 3_596_000]);
    expect(history.lastCallMs).to.equal((monday + 3 * hour) * 60_000 + 7000);
  });

  it("is the same when minutes come again", () => {
    const log = logOf({ from: monday, until: monday + 3 * hour }, hourly);
    const history = new LoadHistory();
    for (const minute of [...log, ...log]) history.add(minute);
    expect(history.gaps).to.have.length(2);
  });

  it("forgets what is older than four weeks, and takes the newest start-up time", () => {
    const history = historyOf({ from: monday, until: monday + 40 * day }, (minute) =>
      minute % day === 0 ? { startMs: (minute - monday) / day } : undefined,
    );
    expect(history.at(monday)).to.equal(undefined);
    expect(history.at(monday + 20 * day)).to.deep.equal({ started: 1, peak: 1 });
    expect(history.startMs).to.equal(39);
  });
});
