import type { FunctionSpec } from "../../../schemas/function.ts";

const gpus = ["nvidia.com/gpu", "amd.com/gpu", "intel.com/gpu"] as const;

/** What a spec asks for and Swarm does not do, a sentence each. */
export const listUnenforcedInSwarm = ({ limits = {} }: FunctionSpec): readonly string[] =>
  gpus.flatMap((key) =>
    limits[key] === undefined
      ? []
      : [`limits.${key} ${limits[key]} is not enforced: services of Swarm are given no GPU`],
  );
