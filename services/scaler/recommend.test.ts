import { expect } from "chai";
import { defaultScaleRules } from "../../schemas/scale-labels.ts";
import type { BoundRules } from "./bound-rules.ts";
import { type Load, recommend, type RecommendInput } from "./recommend.ts";

const quiet: Load = {
  rps: 0,
  peakCalls: 0,
  cpuMillicores: 0,
  queued: 0,
  inFlight: 0,
  areCallersKnown: true,
  parked: 0,
  oldestWaitMs: 0,
  callMs: undefined,
};

interface Case {
  readonly what: string;
  readonly rules?: Partial<BoundRules>;
  readonly load?: Partial<Load>;
  readonly more?: Partial<RecommendInput>;
  readonly gives: readonly [number, string];
}

const slotted = { slots: 2, ready: 3 };
const full = { inFlight: 6, parked: 10 };

const cases: readonly Case[] = [
  { what: "no load", gives: [1, "min"] },
  { what: "no load and a least of 3", rules: { min: 3 }, gives: [3, "min"] },
  { what: "no load and a least of 0: who is awake has one", rules: { min: 0 }, gives: [1, "min"] },
  // Contract §5.3.
  { what: "load 15, target 5", rules: { target: 5, proportion: 1 }, load: { rps: 15 }, gives: [3, "rps"] },
  { what: "load 25, target 5", rules: { target: 5, proportion: 1 }, load: { rps: 25 }, gives: [5, "rps"] },
  { what: "load 90, target 100 at 0.7", rules: { target: 100, proportion: 0.7 }, load: { rps: 90 }, gives: [2, "rps"] },
  {
    what: "exactly its target, in binary fractions",
    rules: { target: 2, proportion: 0.7 },
    load: { rps: 4.2 },
    gives: [3, "rps"],
  },
  { what: "a hair more", rules: { target: 5 }, load: { rps: 22.6 }, gives: [6, "rps"] },
  { what: "far too much", load: { rps: 1e6 }, gives: [20, "max"] },
  { what: "far too much for a most of 3", rules: { max: 3 }, load: { rps: 1e6 }, gives: [3, "max"] },
  { what: "more than the cores feed", rules: { mostByRate: 4 }, load: { rps: 1e6 }, gives: [4, "cores"] },
  { what: "as much as the cores feed", rules: { mostByRate: 4 }, load: { rps: 180 }, gives: [4, "rps"] },
  { what: "cores that feed more than the most", rules: { mostByRate: 30 }, load: { rps: 1e6 }, gives: [20, "max"] },
  {
    what: "cores that feed fewer than the least",
    rules: { mostByRate: 4, min: 6 },
    load: { rps: 1e6 },
    gives: [6, "min"],
  },
  {
    what: "calls that wait for more slots than the cores feed",
    rules: { mostByRate: 4 },
    load: { rps: 1e6, inFlight: 12 },
    more: { slots: 2 },
    gives: [6, "slots"],
  },
  { what: "capacity", rules: { types: ["capacity"], target: 10 }, load: { peakCalls: 19 }, gives: [3, "capacity"] },
  {
    what: "capacity, where a replica takes fewer calls than the target",
    rules: { types: ["capacity"] },
    load: { peakCalls: 8 },
    more: { slots: 2 },
    gives: [4, "capacity"],
  },
  { what: "cpu", rules: { types: ["cpu"], target: 500 }, load: { cpuMillicores: 1000 }, gives: [3, "cpu"] },
  { what: "queue", rules: { types: ["queue"], target: 10 }, load: { queued: 91 }, gives: [11, "queue"] },
  { what: "a load of another type", rules: { types: ["queue"] }, load: { rps: 1000 }, gives: [1, "min"] },
  {
    what: "several types, the highest",
    rules: { types: ["rps", "capacity"], target: 10 },
    load: { rps: 10, peakCalls: 40 },
    gives: [5, "capacity"],
  },
  { what: "calls in flight, although none is begun", load: { inFlight: 6 }, more: slotted, gives: [3, "slots"] },
  {
    what: "calls of unknown callers that leave room",
    load: { inFlight: 5, areCallersKnown: false },
    more: slotted,
    gives: [3, "slots"],
  },
  {
    what: "calls of unknown callers in every slot: more may wait",
    load: { inFlight: 6, areCallersKnown: false },
    more: slotted,
    gives: [4, "slots"],
  },
  { what: "calls in flight without a limit", load: { inFlight: 6 }, more: { ready: 3 }, gives: [1, "slots"] },
  { what: "parked calls of an unknown length", load: full, more: slotted, gives: [8, "slots"] },
  { what: "parked calls before samples show them in flight", load: { parked: 10 }, more: slotted, gives: [8, "slots"] },
  { what: "parked calls that are long", load: { ...full, callMs: 5000 }, more: slotted, gives: [8, "slots"] },
  { what: "parked calls that get a slot at once", load: { ...full, callMs: 5 }, more: slotted, gives: [4, "slots"] },
  {
    what: "parked calls that should have had a slot, and wait",
    load: { ...full, callMs: 5, oldestWaitMs: 600 },
    more: slotted,
    gives: [8, "slots"],
  },
  { what: "parked calls of a function at its most", load: { parked: 500 }, more: slotted, gives: [20, "max"] },
];

describe("recommend()", () => {
  for (const { what, rules = {}, load = {}, more = {}, gives } of cases)
    it(`gives ${gives[0]} by ${gives[1]} for ${what}`, () => {
      const { replicas, reason } = recommend({
        rules: { ...defaultScaleRules, ...rules },
        slots: 0,
        ready: 1,
        load: { ...quiet, ...load },
        ...more,
      });
      expect([replicas, reason]).to.deep.equal(gives);
    });

  it("tells what each type asks for, for whoever wants to know", () => {
    const rules: BoundRules = { ...defaultScaleRules, types: ["rps", "cpu"] };
    const { needs } = recommend({ rules, slots: 1, ready: 1, load: { ...quiet, rps: 90, inFlight: 3 } });
    expect(needs).to.deep.equal({ slots: 3, rps: 2, cpu: 0 });
  });
});
