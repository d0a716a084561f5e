import { expect } from "chai";
import { usedByFunction } from "./memory-limit.ts";

const mebibyte = 1024 * 1024;

describe("usedByFunction()", () => {
  const cases = [
    { title: "nothing for an idle watchdog", root: 50, all: 50, idle: 50, isInside: false, used: 0 },
    { title: "the processes beside the watchdog", root: 60, all: 90, idle: 50, isInside: false, used: 30 },
    { title: "nothing for an idle handler", root: 50, all: 50, idle: 50, isInside: true, used: 0 },
    { title: "what a handler has grown by", root: 120, all: 120, idle: 50, isInside: true, used: 70 },
    {
      title: "nothing less than nothing when a collection has shrunk it",
      root: 40,
      all: 40,
      idle: 50,
      isInside: true,
      used: 0,
    },
  ];
  for (const { title, root, all, idle, isInside, used } of cases)
    it(`counts ${title}, because a limit is about the function`, () => {
      const usage = { cpuSeconds: 0, memoryBytes: all * mebibyte, rootMemoryBytes: root * mebibyte };
      expect(usedByFunction(usage, idle * mebibyte, isInside)).to.equal(used * mebibyte);
    });
});
