import type { HostConfig } from "dockerode";
import { BuskerError } from "../../../schemas/errors.ts";
import type { FunctionSpec } from "../../../schemas/function.ts";
import { parseCpuMillicores, parseMemoryBytes } from "../../../schemas/quantity.ts";

const nanosPerMillicore = 1_000_000;
const millicoresPerCore = 1000;
// The kernel gives a millisecond of processor time at least, of the tenth of a second that an engine counts in.
const leastMillicores = 10;
// What one core counts in the kernel's shares.
const sharesPerCore = 1024;
// The kernel's own least.
const leastShares = 2;

const memoryOf = (amount: string | undefined): number | undefined =>
  amount === undefined ? undefined : parseMemoryBytes(amount);
const millicoresOf = (amount: string | undefined): number | undefined =>
  amount === undefined ? undefined : parseCpuMillicores(amount);

const gpuRequests = (count: number): HostConfig["DeviceRequests"] => [
  { Driver: "nvidia", Count: count, Capabilities: [["gpu"]] },
];

/** Throws `invalid_request` for a limit that no container can be given, whatever the engine. */
export const assertContainerLimits = ({ limits = {} }: Pick<FunctionSpec, "limits">): void => {
  const millicores = millicoresOf(limits.cpu);
  if (millicores === undefined || millicores >= leastMillicores) return;
  throw new BuskerError(
    "invalid_request",
    `limits.cpu must be at least ${leastMillicores}m where functions run in containers; got ${JSON.stringify(limits.cpu)}`,
  );
};

/**
 * A function's limits and requests as an engine with so many processors takes them: a limit above that is none, and is
 * refused if it is not lowered. Amounts that do not parse are refused before.
 */
export const containerResources = ({ limits = {}, requests = {} }: FunctionSpec, cores: number): HostConfig => {
  const memory = memoryOf(limits.memory);
  const millicores = millicoresOf(limits.cpu);
  const most = cores * millicoresPerCore;
  const reserved = memoryOf(requests.memory);
  const share = millicoresOf(requests.cpu);
  const gpus = Number(limits["nvidia.com/gpu"] ?? 0);
  return {
    // Without swap: a function that outgrows its limit must end and say so, not slow down the machine.
    ...(memory === undefined ? {} : { Memory: memory, MemorySwap: memory }),
    ...(millicores === undefined ? {} : { NanoCpus: Math.min(millicores, most) * nanosPerMillicore }),
    ...(reserved === undefined ? {} : { MemoryReservation: reserved }),
    ...(share === undefined ? {} : { CpuShares: Math.max(leastShares, Math.round((share * sharesPerCore) / 1000)) }),
    ...(gpus > 0 ? { DeviceRequests: gpuRequests(gpus) } : {}),
  };
};

// Programs may be run from there, as anywhere in a root that is not read-only: libraries are unpacked into it.
const tmpOptions = "rw,exec,nosuid,nodev,mode=1777";

/** What every replica's container is given besides: nothing that a function has no need of. */
export const containerSecurity = (
  { readOnlyRootFilesystem }: Pick<FunctionSpec, "readOnlyRootFilesystem">,
  pidsLimit: number,
): HostConfig => ({
  CapDrop: ["ALL"],
  SecurityOpt: ["no-new-privileges"],
  PidsLimit: pidsLimit,
  // What the engine keeps is the watchdog's own words only; the function's lines go over the bus.
  LogConfig: { Type: "json-file", Config: { "max-size": "1m", "max-file": "1" } },
  ...(readOnlyRootFilesystem ? { ReadonlyRootfs: true, Tmpfs: { "/tmp": tmpOptions } } : {}),
});

const otherGpus = ["amd.com/gpu", "intel.com/gpu"] as const;

/** What a spec asks for and one engine does not do, a sentence each. */
export const listUnenforcedInContainer = ({ limits = {}, constraints = [] }: FunctionSpec): readonly string[] => [
  ...otherGpus.flatMap((key) =>
    limits[key] === undefined
      ? []
      : [`limits.${key} ${limits[key]} is not enforced: containers are given GPUs of nvidia.com only`],
  ),
  ...(constraints.length > 0
    ? [`constraints (${constraints.join(", ")}) are not looked at: every replica runs on this one engine`]
    : []),
];
