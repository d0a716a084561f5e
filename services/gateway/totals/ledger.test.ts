import { expect } from "chai";
import { eventExamples } from "../../../schemas/event-examples.ts";
import type { Sample } from "../../../schemas/read-sample.ts";
import type { StoredSample } from "../../bus/read-samples.ts";
import { invocationsOf } from "./function-totals.ts";
import { Ledger, type StoredLedger } from "./ledger.ts";

const { "io.busker.metric": replica, "io.busker.metric.caller": caller } = eventExamples;

let seq = 0;
const stored = (source: string, sample: Sample, created = "today"): StoredSample => ({
  function: { namespace: "openfaas-fn", name: "f" },
  source,
  sample,
  position: { created, seq: (seq += 1) },
  atMs: 1_000_000 + seq * 100,
});

/** A caller's sample with so many calls begun and answered with 200. */
const called = (n: number, count: number, start = "a", source = "gateway-1"): StoredSample =>
  stored(source, {
    kind: "caller",
    data: { ...caller.bare, start, n, started: count, answered: { "200": { counts: [count], sum: count / 1000 } } },
  });

const served = (n: number, finished: Readonly<Record<string, number>>, source = "f-1"): StoredSample =>
  stored(source, { kind: "replica", data: { ...replica.bare, n, finished, cpuSeconds: 0.5 } });

const marked = (createdAt: string): StoredSample => stored("provider", { kind: "deployed", data: { createdAt } });

const fill = (samples: readonly StoredSample[], ledger = new Ledger()): Ledger => {
  for (const sample of samples) ledger.take(sample);
  return ledger;
};

/** As a gateway that starts finds it. */
const reopened = (ledger: Ledger): Ledger => new Ledger(JSON.parse(JSON.stringify(ledger.store())) as StoredLedger);

const startedOf = (samples: readonly StoredSample[]): number => fill(samples).totals.started;

describe("Ledger", () => {
  it("adds up what callers and replicas tell", () => {
    const { totals } = fill([called(1, 3), called(1, 2, "b", "gateway-2"), served(1, { "200": 4, "500": 1 })]);
    expect(totals.started).to.equal(5);
    expect(invocationsOf(totals)).to.equal(5);
    expect(totals.answered["200"]).to.deep.equal({ counts: [5], sum: 0.005 });
    expect(totals.finished).to.deep.equal({ "200": 4, "500": 1 });
    expect(totals.cpuSeconds).to.equal(0.5);
  });

  it("counts a sample once that comes twice, and one that comes late", () =>
    expect(
      startedOf([called(1, 1), called(3, 100), called(1, 1), called(2, 10), called(2, 10), called(3, 100)]),
    ).to.equal(111));

  it("counts a source that starts again from 1", () =>
    expect(startedOf([called(1, 1), called(2, 1), called(1, 10, "b"), called(2, 10, "b")])).to.equal(22));

  it("counts what a start before sends late, because what was not confirmed is sent again", () =>
    expect(startedOf([called(1, 1), called(1, 10, "b"), called(2, 100), called(2, 100)])).to.equal(111));

  it("begins anew at the mark, once for one deploy", () => {
    const ledger = fill([called(1, 5), marked("t1"), called(1, 2, "b", "gateway-2")]);
    expect(ledger.totals.started).to.equal(2);
    ledger.take(marked("t1"));
    expect(ledger.totals.started).to.equal(2);
    expect(ledger.createdAt).to.equal("t1");
  });

  it("does not count for the new function what sources of the old one tell afterwards", () => {
    const ledger = fill([called(1, 5), served(1, { "200": 5 }), marked("t1"), called(2, 5), served(2, { "200": 5 })]);
    expect(ledger.totals.started).to.equal(0);
    expect(ledger.totals.finished).to.deep.equal({});
    // The same gateway, which has begun anew, too.
    ledger.take(called(1, 7, "b"));
    expect(ledger.totals.started).to.equal(7);
  });

  it("comes to the same over a snapshot anywhere, whatever is read again after it", () => {
    seq = 0;
    const samples = [
      called(1, 1),
      served(1, { "200": 1 }),
      called(2, 10),
      marked("t1"),
      called(3, 100),
      called(1, 1000, "b"),
      called(3, 10_000, "b"),
      served(2, { "200": 1 }),
      called(2, 100_000, "b"),
    ];
    const whole = fill(samples).store();
    for (let at = 0; at <= samples.length; at += 1)
      for (let from = 0; from <= at; from += 1) {
        const ledger = fill(samples.slice(from), reopened(fill(samples.slice(0, at))));
        expect(ledger.store(), `snapshot after ${at}, read from ${from}`).to.deep.equal(whole);
      }
  });

  it("counts what a stream holds that was made anew, though its numbers are low again", () => {
    const ledger = reopened(fill([called(1, 1), called(2, 10)]));
    seq = 0;
    const again = called(3, 100);
    ledger.take({ ...again, position: { ...again.position, created: "tomorrow" } });
    expect(ledger.totals.started).to.equal(111);
  });

  it("gives a bounded number of statuses a place of their own, because a function may answer with any", () => {
    const statuses = Array.from({ length: 40 }, (_, at) => String(200 + at));
    const { totals } = fill(statuses.map((status, at) => served(at + 1, { [status]: 1 })));
    expect(Object.keys(totals.finished)).to.have.length(33);
    expect(totals.finished["other"]).to.equal(8);
  });

  it("forgets sources that are long gone, so that a snapshot does not grow with every replica there ever was", () => {
    const ledger = fill([served(1, {}, "f-1")]);
    const late = served(1, {}, "f-2");
    ledger.take({ ...late, atMs: late.atMs + 3_600_000 });
    expect(ledger.store().sources.map(([source]) => source)).to.deep.equal(["replica f-2"]);
  });
});
