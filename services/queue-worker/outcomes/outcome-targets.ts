import { onFailureAnnotation, onSuccessAnnotation } from "../../../schemas/annotations.ts";
import type { CallRecord, OutcomeTarget } from "../../../schemas/call.ts";
import type { FunctionSpec } from "../../../schemas/function.ts";
import { parseOutcomeTarget } from "../../../schemas/outcome-target.ts";

const annotationOf = {
  succeeded: onSuccessAnnotation,
  dead: onFailureAnnotation,
} as const satisfies Partial<Record<CallRecord["state"], string>>;

const readAnnotation = (text: string | undefined): readonly OutcomeTarget[] => {
  if (text === undefined) return [];
  try {
    return [parseOutcomeTarget(text)];
  } catch (cause) {
    // The provider refuses such an annotation, unless it is of an earlier version: then nobody is named.
    if (cause instanceof RangeError) return [];
    throw cause;
  }
};

/**
 * Whom the outcome of a call that is over is to be told: its callback URL however it ended, and whom its function's annotations
 * name for this end; each once. Nobody, when it was cancelled.
 */
export const outcomeTargets = (
  { state, callbackUrl }: Pick<CallRecord, "state" | "callbackUrl">,
  spec: Pick<FunctionSpec, "annotations"> | undefined,
): readonly OutcomeTarget[] => {
  if (state !== "succeeded" && state !== "dead") return [];
  const targets: readonly OutcomeTarget[] = [
    ...(callbackUrl === undefined ? [] : [{ kind: "url", url: callbackUrl } as const]),
    ...readAnnotation(spec?.annotations?.[annotationOf[state]]),
  ];
  const seen = new Set(targets.map((target) => JSON.stringify(target)));
  return [...seen].map((text) => JSON.parse(text) as OutcomeTarget);
};
