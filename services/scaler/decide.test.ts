import { expect } from "chai";
import { defaultScaleRules } from "../../schemas/scale-labels.ts";
import { decide, type DecisionInput } from "./decide.ts";

const recommended = (replicas: number): Pick<DecisionInput, "recommendation"> => ({
  recommendation: { replicas, reason: "rps", needs: { rps: replicas } },
});

const usual: DecisionInput = {
  rules: defaultScaleRules,
  canSleep: false,
  wished: 4,
  ready: 4,
  failures: 0,
  ...recommended(4),
  highest: 4,
  isHeard: true,
  isManual: false,
  idleMs: 0,
  foreseen: 0,
};

const idle: Partial<DecisionInput> = {
  canSleep: true,
  idleMs: defaultScaleRules.zeroDurationMs,
  wished: 1,
  ready: 1,
  ...recommended(1),
};
const less: Partial<DecisionInput> = { ...recommended(1), highest: 1 };
const alerted = { rules: { ...defaultScaleRules, types: [] } };
const fixed = { rules: { ...defaultScaleRules, min: 2, max: 2 } };

const cases: readonly (readonly [string, Partial<DecisionInput>, number, string])[] = [
  ["as many as asked for", {}, 4, "steady"],
  ["more asked for", recommended(7), 7, "up"],
  ["as many more as a provider starts at a time", recommended(12), 12, "up"],
  ["more than that", recommended(20), 12, "bounded"],
  ["as many again, of many", { ...recommended(50), wished: 20, ready: 20 }, 40, "bounded"],
  ["more while half of those wished start", { ...recommended(20), wished: 12, ready: 4 }, 12, "bounded"],
  ["more while one has come up", { ...recommended(20), wished: 12, ready: 5 }, 13, "bounded"],
  ["more before the first is ready", { ...recommended(20), wished: 1, ready: 0 }, 1, "starting"],
  ["more while starts fail", { ...recommended(20), wished: 1, ready: 0, failures: 3 }, 1, "failing"],
  ["more while one beside twenty fails", { ...recommended(50), wished: 20, ready: 20, failures: 1 }, 40, "bounded"],
  ["more while three beside twenty fail", { ...recommended(50), wished: 20, ready: 20, failures: 3 }, 20, "failing"],
  ["more while one of those beside fails", { ...recommended(20), failures: 1 }, 4, "failing"],
  ["fewer for the whole window", less, 1, "down"],
  ["fewer now, some more in the window", { ...less, highest: 3 }, 3, "down"],
  ["fewer now, as many in the window", { ...less, highest: 4 }, 4, "window"],
  ["fewer, followed for a moment only", { ...less, highest: undefined }, 4, "window"],
  ["fewer, while a replica is silent", { ...less, isHeard: false }, 4, "silent"],
  ["more, while a replica is silent", { ...recommended(5), isHeard: false }, 5, "up"],
  ["fewer than somebody has set", { ...less, isManual: true }, 4, "manual"],
  ["more than somebody has set", { ...recommended(5), isManual: true }, 5, "up"],
  ["fewer while starts fail", { ...less, failures: 2, ready: 1 }, 1, "down"],
  ["idle", idle, 0, "idle"],
  ["idle, not for long enough", { ...idle, idleMs: defaultScaleRules.zeroDurationMs - 1 }, 1, "steady"],
  ["idle, and not to sleep", { ...idle, canSleep: false }, 1, "steady"],
  ["idle, while a replica is silent", { ...idle, isHeard: false }, 1, "steady"],
  ["idle, at a count that somebody has set", { ...idle, wished: 3, isManual: true }, 0, "idle"],
  ["idle, with a fixed count", { ...idle, ...fixed, wished: 2 }, 0, "idle"],
  ["more, with a fixed count", { ...recommended(5), ...fixed, wished: 2 }, 2, "static"],
  ["another count than the fixed one", { ...recommended(2), ...fixed, wished: 5 }, 5, "static"],
  ["more, of one that only alerts scale", { ...recommended(5), ...alerted }, 4, "alerts"],
  ["fewer, of one that only alerts scale", { ...less, ...alerted }, 4, "alerts"],
  ["idle, and only alerts scale it", { ...idle, ...alerted }, 0, "idle"],
  ["more, at zero", { ...recommended(5), wished: 0, ready: 0 }, 0, "asleep"],
  ["more foreseen", { foreseen: 6 }, 6, "forecast"],
  ["less foreseen than asked for", { foreseen: 3 }, 4, "steady"],
  ["more asked for than foreseen", { ...recommended(7), foreseen: 6 }, 7, "up"],
  ["as many as are foreseen, fewer asked for", { ...less, foreseen: 4 }, 4, "forecast"],
  ["fewer foreseen, still fewer asked for", { ...less, foreseen: 3 }, 3, "down"],
  ["more foreseen while starts fail", { foreseen: 6, failures: 1 }, 4, "failing"],
  ["more foreseen before the first is ready", { foreseen: 6, ready: 0 }, 4, "starting"],
  ["many more foreseen", { foreseen: 20 }, 12, "bounded"],
  ["idle, and calls are foreseen", { ...idle, foreseen: 1 }, 1, "steady"],
  ["idle, and more calls are foreseen", { ...idle, foreseen: 2 }, 2, "forecast"],
  ["calls are foreseen, at zero", { ...idle, wished: 0, ready: 0, foreseen: 3 }, 3, "forecast"],
  ["many calls are foreseen, at zero", { ...idle, wished: 0, ready: 0, foreseen: 20 }, 8, "forecast"],
  ["calls are foreseen, at zero, and starts fail", { ...idle, wished: 0, foreseen: 3, failures: 1 }, 0, "asleep"],
  ["calls are foreseen, put to zero by hand", { wished: 0, ready: 0, foreseen: 3 }, 0, "asleep"],
  ["idle, at zero", { ...idle, wished: 0, ready: 0 }, 0, "asleep"],
];

describe("decide()", () => {
  for (const [what, input, replicas, rule] of cases)
    it(`gives ${replicas} by ${rule}: ${what}`, () => {
      expect(decide({ ...usual, ...input })).to.deep.equal({ replicas, rule });
    });
});
