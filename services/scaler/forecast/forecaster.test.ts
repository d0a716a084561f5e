import { expect } from "chai";
import { defaultScaleRules } from "../../../schemas/scale-labels.ts";
import { type Called, day, logOf, monday } from "../fixtures/loads.ts";
import { type Forecast, Forecaster, type ForecastInput } from "./forecaster.ts";

const minuteMs = 60_000;
const nine = 9 * 60;
const rules = { ...defaultScaleRules, zero: true, forecast: true, target: 10, proportion: 1 };

const learnt = (days: number, called: (minute: number) => Called | undefined): Forecaster => {
  const forecaster = new Forecaster();
  forecaster.add(logOf({ from: monday, until: monday + days * day }, called));
  return forecaster;
};
/** The forecast at so many minutes after the end of what was learnt. */
const at = (forecaster: Forecaster, minutes: number, more: Partial<ForecastInput> = {}): Forecast | undefined =>
  forecaster.forecast({
    rules,
    slots: 0,
    canSleep: true,
    nowMs: minutes * minuteMs,
    startMs: 2000,
    calledMs: undefined,
    ...more,
  });

describe("Forecaster: rhythm", () => {
  const morning = monday + 5 * day + nine;
  const peak = (minute: number): Called | undefined =>
    minute % day >= nine && minute % day < nine + 30 ? { started: 1800, peak: 4 } : undefined;
  const daily = learnt(5, peak);

  it("asks for what the load of that minute had work for, ahead by the start-up time", () => {
    expect(at(daily, morning)?.replicas).to.equal(3);
    expect(at(daily, morning - 5)).to.equal(undefined);
    expect(at(daily, morning - 5, { startMs: 3 * minuteMs })?.replicas).to.equal(3);
    expect(at(daily, morning + 60)).to.equal(undefined);
  });

  it("takes the start-up time of the log where none was measured since", () => {
    const slow = learnt(5, (minute) => peak(minute) && { ...peak(minute), startMs: 10 * minuteMs });
    const before = { startMs: undefined };
    expect(at(slow, morning - 11, before)?.replicas).to.equal(3);
    expect(at(daily, morning - 11, before)).to.equal(undefined);
  });

  it("counts calls at a time where a replica takes only so many, and never passes the most", () => {
    expect(at(daily, morning, { slots: 1 })?.replicas).to.equal(4);
    expect(at(daily, morning, { rules: { ...rules, max: 2 } })?.replicas).to.equal(2);
  });

  it("tells its end, and what it costs at most", () => {
    const forecast = at(daily, morning - 2);
    expect(forecast?.because).to.equal("rhythm");
    expect(forecast?.untilMs).to.equal((morning + 32) * minuteMs);
    expect(forecast?.costs).to.equal(34 * 60 * 3);
  });

  it("costs what is beyond the least where a function does not go to zero, and says nothing of the least", () => {
    const awake = { canSleep: false, rules: { ...rules, min: 2 } };
    expect(at(daily, morning - 2, awake)?.costs).to.equal(34 * 60);
    expect(at(daily, morning, { ...awake, rules: { ...rules, min: 3 } })).to.equal(undefined);
  });

  it("never has cost more than it said, whenever it is asked", () => {
    for (let minute = morning - 10; minute < morning + 40; minute += 1) {
      const said = at(daily, minute, { startMs: 4.5 * minuteMs })?.costs;
      if (said === undefined) continue;
      let cost = 0;
      for (let then = minute; then < morning + 60; then += 1)
        cost += (at(daily, then, { startMs: 4.5 * minuteMs })?.replicas ?? 0) * 60;
      expect(cost, String(minute - morning)).to.be.at.most(said);
    }
  });

  it("is given up when nobody has called for ten minutes of it, and not when somebody has", () => {
    const calledMs = (morning + 5) * minuteMs;
    expect(at(daily, morning + 7)?.replicas).to.equal(3);
    expect(at(daily, morning + 12)).to.equal(undefined);
    expect(at(daily, morning + 12, { calledMs })?.replicas).to.equal(3);
  });

  it("learns from minutes of quiet before the log has them", () => {
    const forecaster = learnt(3, peak);
    for (let minute = monday + 3 * day; minute < monday + 7 * day; minute += 1) forecaster.noteQuiet(minute);
    expect(at(forecaster, monday + 7 * day + nine)).to.equal(undefined);
  });

  it("changes its mind with what it learns after it was asked", () => {
    const forecaster = learnt(2, peak);
    const next = monday + 3 * day;
    expect(at(forecaster, next + nine)).to.equal(undefined);
    forecaster.add(logOf({ from: monday + 2 * day, until: next }, peak));
    expect(at(forecaster, next + nine)?.replicas).to.equal(3);
  });

  it("says nothing of a single burst, nor of calls now and then", () => {
    const burst = learnt(20, (minute) =>
      minute === monday + 3 * day + nine ? { started: 9000, peak: 90 } : undefined,
    );
    const rare = learnt(20, (minute) => (minute % 997 === 0 ? {} : undefined));
    for (let minute = 0; minute < day; minute += 1)
      for (const forecaster of [burst, rare]) expect(at(forecaster, monday + 20 * day + minute)).to.equal(undefined);
  });
});

describe("Forecaster: gaps", () => {
  const hourly = learnt(1, (minute) => (minute % 60 === 0 ? {} : undefined));
  const lastCall = monday + day - 60;

  for (const [minutes, replicas] of [
    [1, undefined],
    [53, undefined],
    [54, 1],
    [66, 1],
    [67, undefined],
  ] as const)
    it(`asks for ${replicas ?? "none"} ${minutes} minutes after the last call of one an hour`, () =>
      expect(at(hourly, lastCall + minutes)?.replicas).to.equal(replicas));

  it("is ahead by the start-up time", () =>
    expect(at(hourly, lastCall + 52, { startMs: 2 * minuteMs })?.replicas).to.equal(1));

  it("counts from the newest call, though the log has not got it", () =>
    expect(at(hourly, lastCall + 60, { calledMs: (lastCall + 59) * minuteMs })).to.equal(undefined));

  it("asks for the least, tells its end, and what it costs at most", () => {
    const forecast = at(hourly, lastCall + 54, { rules: { ...rules, min: 2 } });
    expect(forecast).to.include({ replicas: 2, because: "gaps" });
    expect(forecast?.untilMs).to.be.closeTo((lastCall + 66) * minuteMs, 1);
    expect(forecast?.costs).to.be.closeTo(2 * 12 * 60, 0.01);
  });

  it("says nothing of a function that does not go to zero", () =>
    expect(at(hourly, lastCall + 60, { canSleep: false })).to.equal(undefined));
});
