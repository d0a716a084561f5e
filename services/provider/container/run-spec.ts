import { baseImageAnnotation, pullPolicyAnnotation } from "../../../schemas/annotations.ts";
import { bundleDigest, type FunctionSpec } from "../../../schemas/function.ts";
import type { ImageConfig } from "./image.ts";

/** Where a bundle is in its container, and where its function starts. */
export const bundleFolder = "/function";

/** The image's configuration as a function of it sees it: a bundle brings its own command and has a folder of its own. */
export const functionImage = (config: ImageConfig, isBundle: boolean): ImageConfig =>
  isBundle ? { ...config, Entrypoint: null, Cmd: null, WorkingDir: bundleFolder } : config;

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
