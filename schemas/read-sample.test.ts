import { expect } from "chai";
import { eventExamples } from "./event-examples.ts";
import { timeBounds } from "./histogram.ts";
import { readSample } from "./read-sample.ts";
import type { SampleType } from "./sample.ts";

const types: readonly (readonly [SampleType, string])[] = [
  ["io.busker.metric", "replica"],
  ["io.busker.metric.caller", "caller"],
  ["io.busker.metric.queue", "queue"],
  ["io.busker.metric.deployed", "deployed"],
];

describe("readSample()", () => {
  for (const [type, kind] of types)
    it(`reads ${type} as one of a ${kind}`, () => {
      for (const data of Object.values(eventExamples[type]))
        expect(readSample(type, JSON.stringify(data))).to.deep.equal({ kind, data });
    });

  const replica = eventExamples["io.busker.metric"].full;
  const caller = eventExamples["io.busker.metric.caller"].full;
  const broken: readonly (readonly [string, SampleType, object])[] = [
    ["a negative count", "io.busker.metric", { ...replica, started: -1 }],
    ["half a call", "io.busker.metric", { ...replica, started: 0.5 }],
    ["a count that spoils every sum", "io.busker.metric", { ...replica, started: 1e300 }],
    ["text for a number", "io.busker.metric", { ...replica, cpuSeconds: "1" }],
    ["a time that spoils every sum", "io.busker.metric", { ...replica, cpuSeconds: 1e300 }],
    ["memory that nobody has", "io.busker.metric", { ...replica, memoryBytes: 1e18 }],
    ["no memory", "io.busker.metric", { ...replica, memoryBytes: undefined }],
    ["a status that is a word", "io.busker.metric", { ...replica, finished: { "__proto__ ": 1 } }],
    ["a status of two digits", "io.busker.metric", { ...replica, finished: { "20": 1 } }],
    [
      "more classes than there are",
      "io.busker.metric",
      { ...replica, waits: { counts: timeBounds.map(() => 1).concat(1, 1), sum: 1 } },
    ],
    ["a class that is no number", "io.busker.metric", { ...replica, waits: { counts: [null], sum: 1 } }],
    ["no number", "io.busker.metric", { ...replica, n: undefined }],
    ["number 0", "io.busker.metric", { ...replica, n: 0 }],
    ["a start of a thousand letters", "io.busker.metric", { ...replica, start: "a".repeat(1000) }],
    ["a list", "io.busker.metric", []],
    ["calls accepted that are no whole number", "io.busker.metric.caller", { ...caller, accepted: 0.5 }],
    ["a histogram that is a number", "io.busker.metric.caller", { ...caller, answered: { "200": 1 } }],
    ["waiting of minus one", "io.busker.metric.caller", { ...caller, waiting: -1 }],
    [
      "a depth that is none",
      "io.busker.metric.queue",
      { ...eventExamples["io.busker.metric.queue"].full, depth: null },
    ],
    [
      "half a call that is due",
      "io.busker.metric.queue",
      { ...eventExamples["io.busker.metric.queue"].bare, due: 0.5 },
    ],
    ["no time", "io.busker.metric.deployed", {}],
  ];
  for (const [what, type, data] of broken)
    it(`refuses ${what} in ${type}, because replicas are not trusted`, () =>
      expect(readSample(type, JSON.stringify(data))).to.equal(undefined));

  for (const [what, type, json] of [
    ["what is not JSON", "io.busker.metric", "{"],
    ["null", "io.busker.metric", "null"],
    ["an event of another type", "io.busker.log", "{}"],
    ["a type that every object has", "constructor", "{}"],
  ] as const)
    it(`refuses ${what}`, () => expect(readSample(type, json)).to.equal(undefined));
});
