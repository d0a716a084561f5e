import { expect } from "chai";
import type { FunctionSpec } from "../../schemas/function.ts";
import { listUnenforced } from "./unenforced.ts";

const spec = { name: "f", namespace: "openfaas-fn", image: "x" };

const cases: readonly (readonly [Partial<FunctionSpec>, string | undefined, readonly string[]])[] = [
  [{ limits: { memory: "64Mi", cpu: "100m" } }, undefined, []],
  [
    { limits: { cpu: "100m" } },
    "EROFS",
    ["limits.cpu 100m is not enforced: no cgroup can be made for a replica: EROFS"],
  ],
  [
    { limits: { "nvidia.com/gpu": "1" } },
    undefined,
    ["limits.nvidia.com/gpu 1 is not enforced: functions run as processes, which are given no GPU"],
  ],
  [
    { requests: { cpu: "1", memory: "1Gi" } },
    undefined,
    ["requests (cpu 1, memory 1Gi) set nothing aside: every replica is started on this one machine"],
  ],
  [
    { constraints: ["node.role == worker"] },
    undefined,
    ["constraints (node.role == worker) are not looked at: every replica runs on this one machine"],
  ],
  [
    { readOnlyRootFilesystem: true },
    undefined,
    ["readOnlyRootFilesystem is not enforced: functions run as processes on this machine's file system"],
  ],
  [{ constraints: [], requests: {}, limits: {}, readOnlyRootFilesystem: false }, "EROFS", []],
];

describe("listUnenforced()", () => {
  for (const [part, noCpuLimits, expected] of cases)
    it(`tells of ${JSON.stringify(part)}${noCpuLimits ? " without cgroups" : ""}: ${expected[0] ?? "nothing"}`, () =>
      expect(listUnenforced({ ...spec, ...part }, noCpuLimits)).to.deep.equal(expected));
});
