import { type FunctionSpec, parseDurationMs, resumeAnnotation } from "./function.ts";

/** Whom a container's processes run as: `image`, `uid` or `uid:gid`. */
export const userAnnotation = "com.busker.user";

/** The image that a bundle runs in, where functions run in containers. */
export const baseImageAnnotation = "com.busker.base-image";

/** When an image is pulled: `Always`, `IfNotPresent` or `Never`. */
export const pullPolicyAnnotation = "com.busker.image-pull-policy";

/** The secret with the credentials of the image's registry. */
export const registrySecretAnnotation = "com.busker.registry-secret";

/** What becomes of an idle function's replicas: `stop`, `freeze`, or `keep` for one that never goes to zero by itself. */
export const zeroAnnotation = "com.busker.zero";

/** How long a replica stays frozen before it is stopped, as a duration. */
export const stopAfterAnnotation = "com.busker.zero.stop-after";

/** How long the record of a durable call is kept after its end, as a duration. */
export const resultTtlAnnotation = "com.busker.result.ttl";

/** What of synchronous calls is recorded: `none`, `calls` or `bodies`. */
export const recordAnnotation = "com.busker.record";

/** Whom the outcome of a durable call is told that succeeded: a function, `nats:SUBJECT` or a URL. */
export const onSuccessAnnotation = "com.busker.on-success";

/** Whom the outcome of a durable call is told that ended dead. */
export const onFailureAnnotation = "com.busker.on-failure";

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
  stopAfterAnnotation,
  resultTtlAnnotation,
  recordAnnotation,
  onSuccessAnnotation,
  onFailureAnnotation,
];

/** Whether replicas of a function at zero are kept frozen, to be thawed for the next call. */
export const freezesAtZero = (spec: Pick<FunctionSpec, "annotations">): boolean =>
  spec.annotations?.[zeroAnnotation] === "freeze";

/** Whether a function stays at its least replicas when it is idle, whatever its labels say. */
export const keepsAtZero = (spec: Pick<FunctionSpec, "annotations">): boolean =>
  spec.annotations?.[zeroAnnotation] === "keep";

const defaultStopAfterMs = 24 * 3600_000;

/** How long a replica stays frozen before it is stopped, in milliseconds. */
export const stopAfterMs = (spec: Pick<FunctionSpec, "annotations">): number =>
  parseDurationMs(spec.annotations?.[stopAfterAnnotation] ?? "") ?? defaultStopAfterMs;

/** How long a record is kept where the function says nothing, in milliseconds. */
export const defaultResultTtlMs = 24 * 3600_000;

/** How long the record of a function's durable call is kept after its end, in milliseconds. */
export const resultTtlMs = (spec: Pick<FunctionSpec, "annotations">): number =>
  parseDurationMs(spec.annotations?.[resultTtlAnnotation] ?? "") ?? defaultResultTtlMs;

/** Whether synchronous calls of a function are recorded at all. */
export const recordsCalls = (spec: Pick<FunctionSpec, "annotations">): boolean =>
  spec.annotations?.[recordAnnotation] !== "none";

/** Whether synchronous calls of a function are recorded with their bodies. */
export const recordsBodies = (spec: Pick<FunctionSpec, "annotations">): boolean =>
  spec.annotations?.[recordAnnotation] === "bodies";
