import { type FunctionSpec, resumeAnnotation } from "./function.ts";

/** Whom a container's processes run as: `image`, `uid` or `uid:gid`. */
export const userAnnotation = "com.busker.user";

/** The image that a bundle runs in, where functions run in containers. */
export const baseImageAnnotation = "com.busker.base-image";

/** When an image is pulled: `Always`, `IfNotPresent` or `Never`. */
export const pullPolicyAnnotation = "com.busker.image-pull-policy";

/** The secret with the credentials of the image's registry. */
export const registrySecretAnnotation = "com.busker.registry-secret";

/** What becomes of replicas when none is wished for: `stop` or `freeze`. */
export const zeroAnnotation = "com.busker.zero";

/** What the names of our own annotations begin with. */
export const annotationPrefix = "com.busker.";

/** All of our own annotations. */
export const knownAnnotations: readonly string[] = [
  resumeAnnotation,
  userAnnotation,
  baseImageAnnotation,
  pullPolicyAnnotation,
  registrySecretAnnotation,
  zeroAnnotation,
];

/** Whether replicas of a function at zero are kept frozen, to be thawed for the next call. */
export const freezesAtZero = (spec: Pick<FunctionSpec, "annotations">): boolean =>
  spec.annotations?.[zeroAnnotation] === "freeze";
