import { expect } from "chai";
import type { SimulatedResult } from "../../../schemas/backtest.ts";
import type { LoadMinute } from "../../../schemas/load.ts";
import { type Called, logOf, monday } from "../fixtures/loads.ts";
import { comparePolicies } from "./compare-policies.ts";
import { simulate } from "./simulate.ts";

const minuteMs = 60_000;
const hour = 60;
const fromMs = monday * minuteMs;

const run = (
  minutes: readonly LoadMinute[],
  given: {
    readonly labels?: Readonly<Record<string, string>>;
    readonly slots?: number;
    readonly from?: number;
    readonly lasts: number;
    readonly startMs?: number;
  },
): SimulatedResult => {
  const { labels = {}, slots = 0, from = 0, lasts, startMs = 2000 } = given;
  const scale = Object.fromEntries(
    Object.entries(labels).map(([key, value]) => [
      key === "forecast" ? "com.busker.scale.forecast" : `com.openfaas.scale.${key}`,
      value,
    ]),
  );
  const spec = { name: "f", namespace: "ns", image: "i", labels: scale, envVars: { max_inflight: String(slots) } };
  const beginMs = fromMs + from * minuteMs;
  return simulate({ spec, minutes, fromMs: beginMs, untilMs: beginMs + lasts * minuteMs, startMs });
};
const log = (hours: number, called: (minute: number) => Called | undefined): readonly LoadMinute[] =>
  logOf({ from: monday, until: monday + hours * hour }, called);
const hourly = log(20, (minute) => (minute % hour === 0 ? {} : undefined));
const zero = { zero: "true", "zero-duration": "15m" };

describe("simulate()", () => {
  it("keeps one replica of a function that stays awake, and no call waits", () =>
    expect(run(hourly, { lasts: 10 * hour })).to.deep.equal({
      calls: 10,
      coldStarts: 0,
      waited: 0,
      waitedMs: 0,
      replicaSeconds: 36_000,
    }));

  it("has one call an hour meet a function at zero, but for the first: each waits for a start", () =>
    expect(run(hourly, { labels: zero, lasts: 10 * hour })).to.deep.equal({
      calls: 10,
      coldStarts: 9,
      waited: 9,
      waitedMs: 9 * 2000,
      // It is idle from the call's beginning on, which is two seconds after the replica's.
      replicaSeconds: 900 + 9 * 902,
    }));

  it("has it ready before them once the forecast has learnt their gaps, at the price of the time before", () => {
    const forecast = run(hourly, { labels: { ...zero, forecast: "true" }, from: 10 * hour, lasts: 10 * hour });
    expect(forecast).to.deep.include({ calls: 10, coldStarts: 0, waited: 0, waitedMs: 0 });
    // Six minutes before each call and two seconds to start, to within a step; fifteen minutes after it.
    expect(forecast.replicaSeconds).to.be.within(10 * 900 + 9 * 362, 10 * 900 + 10 * 372);
  });

  it("learns as it goes on, as the scaler would have", () => {
    const forecast = run(hourly, { labels: { ...zero, forecast: "true" }, lasts: 20 * hour });
    // Five gaps are over when the sixth call has come.
    expect(forecast.coldStarts).to.equal(5);
  });

  it("has calls that come together wait for a slot", () => {
    const burst = log(1, (minute) => (minute === monday ? { started: 3, peak: 3, meanMs: 1000 } : undefined));
    expect(run(burst, { labels: { max: "1" }, slots: 1, lasts: 2 })).to.deep.equal({
      calls: 3,
      coldStarts: 0,
      waited: 2,
      waitedMs: 3000,
      replicaSeconds: 120,
    });
  });

  it("starts more when calls wait, and lets them go after the down window", () => {
    const burst = log(1, (minute) => (minute === monday + 1 ? { started: 30, peak: 30, meanMs: 5000 } : undefined));
    const result = run(burst, { labels: { max: "6", "down.window": "30s" }, slots: 1, lasts: 10 });
    // One begins at once. Five more have started after two seconds: six at a time then, but for the first until it has ended,
    // and those that wait do so 2, 5, 7, 10 and so on.
    const waits = [
      2, 2, 2, 2, 2, 5, 7, 7, 7, 7, 7, 10, 12, 12, 12, 12, 12, 15, 17, 17, 17, 17, 17, 20, 22, 22, 22, 22, 22,
    ];
    expect(result.waitedMs / 1000).to.equal(waits.reduce((sum, wait) => sum + wait, 0));
    expect(result.waited).to.equal(29);
    // Six while there are as many calls, which is for twenty seconds, and for the window after it; then one.
    expect(result.replicaSeconds).to.be.within(600 + 5 * 50, 600 + 5 * 75);
  });

  it("takes a steady load for what it is", () => {
    const steady = log(1, () => ({ started: 6000, peak: 2, meanMs: 10, last: 59 }));
    const result = run(steady, { labels: { target: "21", "target-proportion": "1" }, lasts: hour });
    expect(result).to.include({ calls: 360_000, coldStarts: 0, waited: 0 });
    // Five for a hundred calls a second, from the first seconds on.
    expect(result.replicaSeconds).to.be.within(5 * 3580, 5 * 3600);
  });

  it("lets replicas go that a forecast has started in vain", () => {
    const nine = 9 * hour;
    const peak = (minute: number): Called | undefined =>
      minute % (24 * hour) === nine && minute < monday + 5 * 24 * hour ? { started: 1200, peak: 3 } : undefined;
    const minutes = log(6 * 24, peak);
    const given = { from: 5 * 24 * hour, lasts: 24 * hour };
    const awake = { target: "10", "target-proportion": "1", "down.window": "30s" };
    const without = run(minutes, { ...given, labels: awake });
    const wrong = run(minutes, { ...given, labels: { ...awake, forecast: "true" } });
    // One more for the five minutes around nine, then, as nobody could look back, the down window.
    expect(wrong.replicaSeconds - without.replicaSeconds).to.be.within(300, 360);
  });
});

describe("comparePolicies()", () => {
  it("gives both side by side, with the start-up time of the log", () => {
    const spec = { name: "f", namespace: "ns", image: "i", labels: { "com.openfaas.scale.zero": "true" } };
    const minutes = hourly.map((load) => ({ ...load, startMs: 700 }));
    const proposed = { "com.busker.scale.forecast": "true" };
    const result = comparePolicies({ spec, proposed, minutes, fromMs, untilMs: fromMs + 20 * hour * minuteMs });
    expect([result.startMs, result.notes]).to.deep.equal([700, []]);
    expect([result.current.coldStarts, result.proposed.coldStarts]).to.deep.equal([19, 5]);
    expect(result.current.waitedMs).to.equal(19 * 700);
  });

  it("says what it could not take into account", () => {
    const spec = { name: "f", namespace: "ns", image: "i", labels: { "com.openfaas.scale.type": "cpu" } };
    const { notes } = comparePolicies({ spec, proposed: {}, minutes: hourly, fromMs, untilMs: fromMs + minuteMs });
    expect(notes).to.deep.equal([
      "load of type cpu is not in the log and counts as none",
      "nobody has seen a replica start; taken for 1000 ms",
    ]);
  });
});
