import { baseImageAnnotation, pullPolicyAnnotation } from "../../../schemas/annotations.ts";
import { bundleDigest, type FunctionSpec } from "../../../schemas/function.ts";

/** What bundles run in that name no image of their own. */
export interface BaseImages {
  /** As configured; undefined for the one that is made here. */
  readonly configured: string | undefined;
  /** Makes the one of this machine's files, unless it is there; gives its name. */
  readonly own: () => Promise<string>;
}

/**
 * A spec with the image that its containers are made of: a function's own, or for a bundle the image that it runs in. The
 * one that is made here is in no registry, whatever the policy of pulls.
 */
export const toRunSpec = async (spec: FunctionSpec, { configured, own }: BaseImages): Promise<FunctionSpec> => {
  if (bundleDigest(spec.image) === undefined) return spec;
  const named = spec.annotations?.[baseImageAnnotation] ?? configured;
  if (named !== undefined) return { ...spec, image: named };
  return { ...spec, image: await own(), annotations: { ...spec.annotations, [pullPolicyAnnotation]: "Never" } };
};
