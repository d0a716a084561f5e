import { expect } from "chai";
import { listCpuParents } from "./cpu-groups.ts";

const debian = "29 22 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate";
const mixed = [
  "31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
  "32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct",
  "33 30 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory",
].join("\n");

const cases: readonly (readonly [string, string, string, readonly string[]])[] = [
  [
    "our own group and those above it, on a machine as Debian sets it up",
    "0::/user.slice/session-3.scope\n",
    debian,
    ["2 /sys/fs/cgroup/user.slice/session-3.scope", "2 /sys/fs/cgroup/user.slice", "2 /sys/fs/cgroup"],
  ],
  [
    "both hierarchies where both are mounted, the newer one first",
    "4:memory:/m\n1:cpu,cpuacct:/a\n0::/\n",
    mixed,
    ["2 /sys/fs/cgroup/unified", "1 /sys/fs/cgroup/cpu,cpuacct/a", "1 /sys/fs/cgroup/cpu,cpuacct"],
  ],
  [
    "what a container sees of its own group, mounted as the root",
    "0::/docker/abc\n",
    "29 22 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup2 rw",
    ["2 /sys/fs/cgroup"],
  ],
  [
    "nothing where our group is not mounted",
    "0::/other\n",
    "29 22 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 a rw",
    [],
  ],
  ["nothing without cgroups", "", "22 1 8:1 / / rw - ext4 /dev/sda1 rw", []],
];

describe("listCpuParents()", () => {
  for (const [what, cgroups, mountinfo, expected] of cases)
    it(`gives ${what}`, () => {
      const found = listCpuParents(cgroups, mountinfo).map(({ version, folder }) => `${version} ${folder}`);
      expect(found).to.deep.equal(expected);
    });
});
