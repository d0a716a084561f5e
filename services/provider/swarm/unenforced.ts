import { bundleDigest, type FunctionSpec } from "../../../schemas/function.ts";

const gpus = ["nvidia.com/gpu", "amd.com/gpu", "intel.com/gpu"] as const;

// Since then a file system in memory may be one that programs are run from.
const execApi = 1.46;

/** What a spec asks for and an engine of this API does not do as a swarm, a sentence each. */
export const listUnenforcedInSwarm = ({ image, limits = {} }: FunctionSpec, api: number): readonly string[] => [
  ...gpus.flatMap((key) =>
    limits[key] === undefined
      ? []
      : [`limits.${key} ${limits[key]} is not enforced: services of Swarm are given no GPU`],
  ),
  ...(bundleDigest(image) !== undefined && api < execApi
    ? [
        `programs of the folder can be started by an interpreter only (sh run.sh, not ./run.sh): this engine has API ${api}, and only from ${execApi} on runs any from memory`,
      ]
    : []),
];
