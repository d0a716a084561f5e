import { expect } from "chai";
import {
  defaultScaleRules,
  leastAwake,
  minReplicas,
  readScaleRules,
  scaleLabelFaults,
  unknownScaleLabels,
} from "./scale-labels.ts";

const labelsOf = (short: Readonly<Record<string, string>>): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(short).map(([key, value]) => [`com.openfaas.scale.${key}`, value]));

describe("readScaleRules()", () => {
  const cases: readonly (readonly [Readonly<Record<string, string>>, Partial<typeof defaultScaleRules>])[] = [
    [{}, {}],
    [
      { min: "2", max: "30", target: "2.5", "target-proportion": "0.7" },
      { min: 2, max: 30, target: 2.5, proportion: 0.7 },
    ],
    [{ min: "30" }, { min: 30, max: 30 }],
    [{ type: "capacity" }, { types: ["capacity"] }],
    [{ type: "capacity, rps" }, { types: ["rps", "capacity"] }],
    [{ type: "alert" }, { types: [] }],
    [
      { zero: "true", "zero-duration": "90s" },
      { zero: true, zeroDurationMs: 90_000 },
    ],
    [
      { "down.window": "1m30s", factor: "20" },
      { downWindowMs: 90_000, factor: 20 },
    ],
    [{ target: "many" }, {}],
  ];
  it("takes our own label", () =>
    expect(readScaleRules({ labels: { "com.busker.scale.forecast": "true" } })).to.have.property("forecast", true));
  for (const [labels, rules] of cases)
    it(`gives ${JSON.stringify(rules)} for ${JSON.stringify(labels)}, and what is usual for the rest`, () => {
      expect(readScaleRules({ labels: labelsOf(labels) })).to.deep.equal({ ...defaultScaleRules, ...rules });
    });
});

describe("scaleLabelFaults()", () => {
  const faulty = [
    ["min", "-1", "a whole number from 0 to 10000"],
    ["min", "one", "a whole number from 0 to 10000"],
    ["max", "0", "a whole number from 1 to 10000"],
    ["max", "1.5", "a whole number from 1 to 10000"],
    ["max", "100000", "a whole number from 1 to 10000"],
    ["target", "0", "a number above 0"],
    ["target", "-5", "a number above 0"],
    ["target", "NaN", "a number above 0"],
    ["target", "", "a number above 0"],
    ["target-proportion", "0", "a number above 0 and not above 1"],
    ["target-proportion", "1.1", "a number above 0 and not above 1"],
    ["type", "memory", "rps, capacity, cpu or queue, or several of them joined by commas, or alert alone"],
    ["type", "rps,", "rps, capacity, cpu or queue, or several of them joined by commas, or alert alone"],
    ["type", "rps,alert", "rps, capacity, cpu or queue, or several of them joined by commas, or alert alone"],
    ["zero", "yes", "true or false"],
    ["zero-duration", "0s", "a duration above 0 such as 90s or 15m"],
    ["zero-duration", "-5m", "a duration above 0 such as 90s or 15m"],
    ["down.window", "6m", "a duration of at most 5m such as 30s"],
    ["down.window", "soon", "a duration of at most 5m such as 30s"],
    ["factor", "101", "a whole number from 0 to 100"],
  ] as const;
  it("names the forecast that is neither asked for nor not", () =>
    expect(scaleLabelFaults({ "com.busker.scale.forecast": "yes" })).to.deep.equal([
      'label com.busker.scale.forecast must be true or false; got "yes"',
    ]));
  for (const [key, value, rule] of faulty)
    it(`names ${key} of ${JSON.stringify(value)} with its rule and value`, () => {
      expect(scaleLabelFaults(labelsOf({ [key]: value }))).to.deep.equal([
        `label com.openfaas.scale.${key} must be ${rule}; got ${JSON.stringify(value)}`,
      ]);
    });

  it("names a most that is below the least", () => {
    expect(scaleLabelFaults(labelsOf({ min: "3", max: "2" }))).to.deep.equal([
      'label com.openfaas.scale.max must be at least com.openfaas.scale.min, 3; got "2"',
    ]);
  });

  it("names all faults, because nobody wants to learn them one by one", () => {
    expect(scaleLabelFaults(labelsOf({ min: "x", target: "0", zero: "1" }))).to.have.length(3);
  });

  it("leaves labels alone that are somebody else's", () => {
    expect(scaleLabelFaults({ tier: "gold", "com.openfaas.scale.custom": "x" })).to.deep.equal([]);
  });
});

describe("unknownScaleLabels()", () => {
  it("names what is misspelt, and what there is", () => {
    const labels = { tier: "gold", "com.openfaas.scale.maks": "3", "com.openfaas.scale.max": "3" };
    expect(unknownScaleLabels(labels)).to.deep.equal([
      "label com.openfaas.scale.maks means nothing; after com.openfaas.scale. there are min, max, target, " +
        "target-proportion, type, zero, zero-duration, down.window, factor",
    ]);
  });
});

describe("minReplicas() and leastAwake()", () => {
  for (const [labels, least, awake] of [
    [undefined, 1, 1],
    [{}, 1, 1],
    [{ "com.openfaas.scale.min": "3" }, 3, 3],
    [{ "com.openfaas.scale.min": "0" }, 0, 1],
  ] as const)
    it(`are ${least} and ${awake} for labels ${JSON.stringify(labels)}`, () => {
      const spec = labels ? { labels } : {};
      expect([minReplicas(spec), leastAwake(spec)]).to.deep.equal([least, awake]);
    });
});
