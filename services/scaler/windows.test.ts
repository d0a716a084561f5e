import { expect } from "chai";
import { HighestWindow, PeakWindow, RateWindow } from "./windows.ts";

describe("RateWindow", () => {
  it("gives the rate over its last full seconds, and nothing of what is older", () => {
    const window = new RateWindow(10);
    const rates = Array.from({ length: 31 }, (_, second) => {
      const rate = window.rate(second * 1000);
      window.add(second * 1000 + 500, second < 15 ? 100 : 20, 1);
      return rate;
    });
    expect([rates[5], rates[15], rates[20], rates[30]]).to.deep.equal([50, 100, 60, 20]);
    expect(window.rate(36_500)).to.equal(10);
    expect(window.rate(60_000)).to.equal(0);
  });

  it("gives what was before the latest seconds", () => {
    const window = new RateWindow(10);
    for (let second = 0; second < 12; second += 1) window.add(second * 1000 + 500, second < 9 ? 10 : 90, 1);
    expect([window.rate(12_000), window.rate(12_000, 3)]).to.deep.equal([34, 10]);
  });

  it("spreads what came together over the time that it covers, so that a late sample is no burst", () => {
    const window = new RateWindow(10);
    window.add(100_500, 600, 60);
    expect(window.rate(101_000)).to.be.closeTo(10, 1e-9);
    window.add(101_500, 40, 2);
    expect(window.rate(102_000)).to.be.closeTo(9 + 4, 1e-9);
  });
});

describe("PeakWindow", () => {
  it("gives the most of its last seconds, the current one included", () => {
    const window = new PeakWindow(10);
    window.see(1000, 7);
    window.see(1500, 3);
    window.see(4000, 5);
    expect([window.peak(4000), window.peak(10_999), window.peak(11_000), window.peak(14_000)]).to.deep.equal([
      7, 7, 5, 0,
    ]);
  });
});

describe("HighestWindow", () => {
  const pushEach = (window: HighestWindow, values: readonly number[], fromMs = 0): void =>
    values.forEach((value, at) => window.push(fromMs + at * 1000, value, 5000));

  it("gives the highest value of the time asked for", () => {
    const window = new HighestWindow();
    pushEach(window, [1, 9, 3, 5, 2, 2, 2]);
    expect([window.highest(6000, 5000, 0), window.highest(6000, 3000, 0), window.highest(6000, 2000, 0)]).to.deep.equal(
      [5, 2, 2],
    );
    expect(window.highest(6000, 0, 0)).to.equal(2);
  });

  it("knows nothing before values have come for the whole time, or for the least time", () => {
    const window = new HighestWindow();
    pushEach(window, [1, 1, 1, 1, 1, 1]);
    expect([window.highest(4000, 5000, 0), window.highest(5000, 5000, 0)]).to.deep.equal([undefined, 1]);
    expect(window.highest(5000, 0, 8000)).to.equal(undefined);
  });

  it("begins anew after a pause, in which it has seen nothing", () => {
    const window = new HighestWindow();
    pushEach(window, [4, 4, 4, 4, 4, 4]);
    pushEach(window, [1, 1, 1], 60_000);
    expect(window.highest(62_000, 5000, 0)).to.equal(undefined);
  });
});
