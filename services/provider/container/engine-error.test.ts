import { expect } from "chai";
import { isLimitRefusal } from "./engine-error.ts";

describe("isLimitRefusal()", () => {
  const refusals = [
    "Minimum memory limit allowed is 6MB",
    "Minimum memory limit can not be less than memory reservation limit, see usage",
    "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available",
    'OCI runtime create failed: process_linux.go:508: setting cgroup config caused: failed to write "500": write /sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_quota_us: invalid argument: unknown',
    "OCI runtime create failed: container init was OOM-killed (memory limit too low?): unknown",
  ];
  for (const reason of refusals)
    it(`knows ${JSON.stringify(reason)}`, () => {
      expect(isLimitRefusal(reason)).to.equal(true);
    });

  const others = [
    "No such image: app:1",
    "unable to find user nobody-at-all: no matching entries in passwd file",
    "out of memory: the limit is 64Mi",
    "cannot allocate memory",
  ];
  for (const reason of others)
    it(`takes ${JSON.stringify(reason)} for something else`, () => {
      expect(isLimitRefusal(reason)).to.equal(false);
    });
});
