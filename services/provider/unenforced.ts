import type { FunctionSpec } from "../../schemas/function.ts";

const list = (amounts: object): string =>
  Object.entries(amounts)
    .map(([key, amount]) => `${key} ${String(amount)}`)
    .join(", ");

const gpus = ["nvidia.com/gpu", "amd.com/gpu", "intel.com/gpu"] as const;

/**
 * What a spec asks for and plain processes do not get, a sentence each. `noCpuLimits` is why CPU limits cannot be held on
 * this machine; undefined when they can.
 */
export const listUnenforced = (spec: FunctionSpec, noCpuLimits: string | undefined): readonly string[] => {
  const { limits = {}, requests = {}, constraints = [] } = spec;
  const warnings: string[] = [];
  if (limits.cpu !== undefined && noCpuLimits !== undefined)
    warnings.push(`limits.cpu ${limits.cpu} is not enforced: no cgroup can be made for a replica: ${noCpuLimits}`);
  for (const key of gpus)
    if (limits[key] !== undefined)
      warnings.push(`limits.${key} ${limits[key]} is not enforced: functions run as processes, which are given no GPU`);
  if (Object.keys(requests).length > 0)
    warnings.push(`requests (${list(requests)}) set nothing aside: every replica is started on this one machine`);
  if (constraints.length > 0)
    warnings.push(`constraints (${constraints.join(", ")}) are not looked at: every replica runs on this one machine`);
  if (spec.readOnlyRootFilesystem)
    warnings.push("readOnlyRootFilesystem is not enforced: functions run as processes on this machine's file system");
  return warnings;
};
