import {
  annotationPrefix,
  baseImageAnnotation,
  knownAnnotations,
  onFailureAnnotation,
  onSuccessAnnotation,
  pullPolicyAnnotation,
  recordAnnotation,
  registrySecretAnnotation,
  stopAfterAnnotation,
  resultTtlAnnotation,
  userAnnotation,
  zeroAnnotation,
} from "../../schemas/annotations.ts";
import { bundleScheme, type FunctionSpec, parseDurationMs, resumeAnnotation } from "../../schemas/function.ts";
import { parseOutcomeTarget } from "../../schemas/outcome-target.ts";
import { checkRetryAnnotations } from "../../schemas/retry-policy.ts";
import { isSecretName } from "../../schemas/secret.ts";
import { maxResultAgeMs } from "../../schemas/topology.ts";
import { userFault } from "./container/user.ts";

/** The sentence of what is wrong; undefined when nothing is. */
type Check = (value: string) => string | undefined;

const oneOf =
  (annotation: string, choices: readonly string[]): Check =>
  (value) =>
    choices.includes(value)
      ? undefined
      : `annotation ${annotation} must be ${choices.slice(0, -1).join(", ")} or ${choices.at(-1)}; got ${JSON.stringify(value)}`;

const outcomeTarget =
  (annotation: string): Check =>
  (value) => {
    try {
      parseOutcomeTarget(value);
      return undefined;
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      return `annotation ${annotation} must be ${error.message}; got ${JSON.stringify(value)}`;
    }
  };

const resultTtlFault: Check = (value) => {
  const ttlMs = parseDurationMs(value);
  return ttlMs !== undefined && ttlMs > 0 && ttlMs <= maxResultAgeMs
    ? undefined
    : `annotation ${resultTtlAnnotation} must be a duration such as 30m, of ${maxResultAgeMs / 3600_000}h at most; got ${JSON.stringify(value)}`;
};

const checks: Readonly<Record<string, Check>> = {
  [resumeAnnotation]: oneOf(resumeAnnotation, ["true", "false"]),
  [zeroAnnotation]: oneOf(zeroAnnotation, ["stop", "freeze", "keep"]),
  [stopAfterAnnotation]: (value) =>
    (parseDurationMs(value) ?? 0) > 0
      ? undefined
      : `annotation ${stopAfterAnnotation} must be a duration above 0 such as 24h; got ${JSON.stringify(value)}`,
  [recordAnnotation]: oneOf(recordAnnotation, ["none", "calls", "bodies"]),
  [resultTtlAnnotation]: resultTtlFault,
  [pullPolicyAnnotation]: oneOf(pullPolicyAnnotation, ["Always", "IfNotPresent", "Never"]),
  [userAnnotation]: userFault,
  [onSuccessAnnotation]: outcomeTarget(onSuccessAnnotation),
  [onFailureAnnotation]: outcomeTarget(onFailureAnnotation),
  [registrySecretAnnotation]: (value) =>
    isSecretName(value)
      ? undefined
      : `annotation ${registrySecretAnnotation} must be the name of a secret; got ${JSON.stringify(value)}`,
  [baseImageAnnotation]: (value) =>
    value !== "" && !value.startsWith(bundleScheme)
      ? undefined
      : `annotation ${baseImageAnnotation} must be an image reference; got ${JSON.stringify(value)}`,
};

// A mistyped name of ours would be passed over without a word; those of others are theirs.
const unknownFault = (name: string): string | undefined =>
  name.startsWith(annotationPrefix) && !knownAnnotations.includes(name)
    ? `annotation ${name} is unknown; those of Busker are ${knownAnnotations.join(", ")}`
    : undefined;

/** What is wrong with a function's annotations, a sentence each; empty when nothing is. */
export const checkAnnotations = ({
  image,
  annotations = {},
}: Pick<FunctionSpec, "image" | "annotations">): readonly string[] => [
  ...Object.entries(annotations).flatMap(([name, value]) => checks[name]?.(value) ?? unknownFault(name) ?? []),
  ...checkRetryAnnotations({ annotations }),
  ...(annotations[baseImageAnnotation] !== undefined && !image.startsWith(bundleScheme)
    ? [`annotation ${baseImageAnnotation} is of bundles; the image is ${JSON.stringify(image)}`]
    : []),
];
