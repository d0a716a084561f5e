import { pullPolicyAnnotation } from "../../../schemas/annotations.ts";
import { BuskerError } from "../../../schemas/errors.ts";
import type { FunctionSpec } from "../../../schemas/function.ts";

/** When an image is pulled, in the words of Kubernetes. */
export const pullPolicies = ["Always", "IfNotPresent", "Never"] as const;
export type PullPolicy = (typeof pullPolicies)[number];

/** The policy of a function, or `usual` when it says none. Throws `invalid_request` for a word that is none. */
export const pullPolicyOf = ({ annotations }: Pick<FunctionSpec, "annotations">, usual: PullPolicy): PullPolicy => {
  const wished = annotations?.[pullPolicyAnnotation];
  if (wished === undefined) return usual;
  const known = pullPolicies.find((policy) => policy === wished);
  if (known) return known;
  throw new BuskerError(
    "invalid_request",
    `annotation ${pullPolicyAnnotation} must be ${pullPolicies.slice(0, -1).join(", ")} or ${pullPolicies.at(-1)}; got ${JSON.stringify(wished)}`,
  );
};
