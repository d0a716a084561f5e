import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { describeError } from "../runtime/log.ts";
import { signalProcess } from "./process-identity.ts";

/*
 * CPU limits of replicas by control groups of the kernel (cgroups(7); Documentation/admin-guide/cgroup-v2.rst). A replica
 * has two folders: the outer bears the limit, the inner holds the processes. In version 2 the inner one is what keeps the
 * controller: it cannot be switched off above while a child has it switched on, and a group with processes has no child
 * with controllers.
 */

/** A folder of the kernel's tree below which groups with a CPU limit can be made. */
export interface CpuParent {
  readonly version: 1 | 2;
  readonly folder: string;
}

/** Whether CPU limits can be held on this machine, and if not, why. */
export type CpuLimits =
  | { readonly kind: "cgroups"; readonly parent: CpuParent }
  | { readonly kind: "none"; readonly why: string };

interface Mount {
  readonly version: 1 | 2;
  /** What of the hierarchy is mounted. */
  readonly root: string;
  readonly point: string;
}

// proc_pid_mountinfo(5): id, parent, device, root, mount point, options, optional fields, "-", type, source, more options.
const readMount = (line: string): readonly Mount[] => {
  const [place = "", kind = ""] = line.split(" - ");
  const [, , , root = "", point = ""] = place.split(" ");
  const [type, , options = ""] = kind.split(" ");
  if (type === "cgroup2") return [{ version: 2, root, point }];
  return type === "cgroup" && options.split(",").includes("cpu") ? [{ version: 1, root, point }] : [];
};

/** The path of our own group in the hierarchy of a version: `0::/path` in the second, `1:cpu,cpuacct:/path` in the first. */
const readOwnPath = (cgroups: string, version: 1 | 2): string | undefined =>
  cgroups
    .split("\n")
    .map((line) => line.split(":"))
    .find(([id, controllers = ""]) => (version === 2 ? id === "0" : controllers.split(",").includes("cpu")))
    ?.slice(2)
    .join(":");

/** Our own group and those above it, nearest first, in every hierarchy that may have a CPU controller. */
export const listCpuParents = (cgroups: string, mountinfo: string): readonly CpuParent[] =>
  mountinfo
    .split("\n")
    .flatMap(readMount)
    .toSorted((a, b) => b.version - a.version)
    .flatMap(({ version, root, point }) => {
      const path = readOwnPath(cgroups, version);
      const below = path === undefined ? ".." : relative(root, path);
      if (below.startsWith("..")) return [];
      const names = below.split("/").filter(Boolean);
      return names
        .map((_, index) => join(point, ...names.slice(0, names.length - index)))
        .concat(point)
        .map((folder) => ({ version, folder }));
    });

const readText = (file: string): string => {
  try {
    return readFileSync(file, "utf8");
  } catch {
    // A group that is gone, or a kernel without any: there is nothing in it.
    return "";
  }
};

const readWords = (file: string): readonly string[] => readText(file).split(/\s+/).filter(Boolean);

// A controller that somebody else has not switched on below a group is not ours to switch on there: systemd, whose tree it
// is, would switch it off again.
const canBear = ({ version, folder }: CpuParent): boolean =>
  version === 1 || readWords(join(folder, "cgroup.subtree_control")).includes("cpu");

const inner = (folder: string): string => join(folder, "replica");

const periodUs = 100_000;
// The kernel takes no less.
const leastQuotaUs = 1000;

/** Microseconds of CPU in each period. */
const quotaUs = (millicores: number): number => Math.max(leastQuotaUs, (millicores * periodUs) / 1000);

/** The folder of a replica's group; nothing is made. */
export const cpuGroupFolder = ({ folder }: CpuParent, id: string): string => join(folder, `busker-${id}`);

/** Makes a group with a limit. Throws what the kernel refuses. */
export const makeCpuGroup = ({ version }: CpuParent, folder: string, millicores: number): void => {
  mkdirSync(folder);
  if (version === 2) {
    writeFileSync(join(folder, "cpu.max"), `${quotaUs(millicores)} ${periodUs}`);
    writeFileSync(join(folder, "cgroup.subtree_control"), "+cpu");
  } else {
    writeFileSync(join(folder, "cpu.cfs_period_us"), String(periodUs));
    writeFileSync(join(folder, "cpu.cfs_quota_us"), String(quotaUs(millicores)));
  }
  mkdirSync(inner(folder));
};

/** Puts a process into a group; what it starts from then on is in it too. */
export const joinCpuGroup = (folder: string, pid: number): void =>
  writeFileSync(join(inner(folder), "cgroup.procs"), String(pid));

const removeIfThere = (folder: string): void => {
  try {
    rmdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
};

const removeOnce = (folder: string): void => {
  for (const pid of readWords(join(inner(folder), "cgroup.procs"))) signalProcess(Number(pid), "SIGKILL");
  removeIfThere(inner(folder));
  removeIfThere(folder);
};

// A killed process leaves its group when it has ended, which takes it some milliseconds.
const againMs = 10;
const tries = 200;

/** Ends what is in a group and removes it; one that is gone is fine. Rejects when a process does not end in two seconds. */
export const removeCpuGroup = async (folder: string): Promise<void> => {
  for (let left = tries; ; left -= 1)
    try {
      return removeOnce(folder);
    } catch (error) {
      if (left === 0 || (error as NodeJS.ErrnoException).code !== "EBUSY") throw error;
      await pause(againMs);
    }
};

/** Tries whether a group can be made here; the reason why not, else undefined. */
const tryParent = (parent: CpuParent): string | undefined => {
  const folder = cpuGroupFolder(parent, `trial-${process.pid}`);
  try {
    makeCpuGroup(parent, folder, 1000);
    return undefined;
  } catch (error) {
    return describeError(error);
  } finally {
    if (existsSync(folder)) removeOnce(folder);
  }
};

/** Finds where groups can be made, by making one. */
export const findCpuLimits = (): CpuLimits => {
  const candidates = listCpuParents(readText("/proc/self/cgroup"), readText("/proc/self/mountinfo")).filter(canBear);
  const faults: string[] = [];
  for (const parent of candidates) {
    const fault = tryParent(parent);
    if (fault === undefined) return { kind: "cgroups", parent };
    faults.push(fault);
  }
  return { kind: "none", why: faults[0] ?? "the kernel's cgroups offer no CPU controller to this process" };
};
