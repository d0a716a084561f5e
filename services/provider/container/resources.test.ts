import { expect } from "chai";
import { BuskerError } from "../../../schemas/errors.ts";
import type { FunctionSpec } from "../../../schemas/function.ts";
import {
  assertContainerLimits,
  containerResources,
  containerSecurity,
  listUnenforcedInContainer,
} from "./resources.ts";

const base: FunctionSpec = { name: "fn", namespace: "ns", image: "app:1" };

describe("containerResources()", () => {
  const cases: readonly (readonly [Partial<FunctionSpec>, object])[] = [
    [{}, {}],
    [{ limits: { memory: "128Mi" } }, { Memory: 134217728, MemorySwap: 134217728 }],
    [{ limits: { cpu: "100m" } }, { NanoCpus: 100_000_000 }],
    // More than there are is no limit, which an engine would refuse.
    [{ limits: { cpu: "3" } }, { NanoCpus: 2_000_000_000 }],
    [{ limits: { cpu: "0.5" } }, { NanoCpus: 500_000_000 }],
    [{ requests: { memory: "64M", cpu: "250m" } }, { MemoryReservation: 64_000_000, CpuShares: 256 }],
    [{ requests: { cpu: "1m" } }, { CpuShares: 2 }],
    [{ limits: { "nvidia.com/gpu": "0" } }, {}],
    [
      { limits: { "nvidia.com/gpu": "2" } },
      { DeviceRequests: [{ Driver: "nvidia", Count: 2, Capabilities: [["gpu"]] }] },
    ],
  ];
  for (const [own, expected] of cases)
    it(`takes ${JSON.stringify(own)}`, () => {
      expect(containerResources({ ...base, ...own }, 2)).to.deep.equal(expected);
    });
});

describe("assertContainerLimits()", () => {
  it("refuses a processor limit that the kernel cannot keep, and takes the least", () => {
    for (const cpu of ["9m", "0.001"])
      expect(() => assertContainerLimits({ limits: { cpu } }))
        .to.throw(BuskerError, `limits.cpu must be at least 10m where functions run in containers; got "${cpu}"`)
        .with.property("code", "invalid_request");
    for (const cpu of ["10m", "0.01"]) assertContainerLimits({ limits: { cpu } });
    assertContainerLimits({});
  });
});

describe("containerSecurity()", () => {
  it("gives no capability, no new privileges and a bounded number of processes", () => {
    const host = containerSecurity({}, 100);
    expect(host).to.deep.include({ CapDrop: ["ALL"], SecurityOpt: ["no-new-privileges"], PidsLimit: 100 });
    expect(host.ReadonlyRootfs).to.equal(undefined);
  });

  it("leaves /tmp writable under a read-only root", () => {
    const host = containerSecurity({ readOnlyRootFilesystem: true }, 100);
    expect(host.ReadonlyRootfs).to.equal(true);
    expect(host.Tmpfs).to.have.all.keys("/tmp");
  });
});

describe("listUnenforcedInContainer()", () => {
  it("names what one engine cannot do, and nothing that it does", () => {
    const limits = { memory: "1Gi", cpu: "1", "nvidia.com/gpu": "1", "amd.com/gpu": "1" };
    const told = listUnenforcedInContainer({ ...base, limits, constraints: ["node.role==worker"] });
    expect(told).to.have.length(2);
    expect(told.join()).to.match(/amd\.com\/gpu 1.*node\.role==worker/);
    expect(listUnenforcedInContainer({ ...base, limits: { memory: "1Gi", cpu: "1" } })).to.deep.equal([]);
  });
});
