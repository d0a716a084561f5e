import type { FunctionSpec } from "../../schemas/function.ts";
import { parseCpuMillicores } from "../../schemas/quantity.ts";
import { readScaleRules, scaleLabels, type ScaleRules } from "../../schemas/scale-labels.ts";

/** How one function is scaled where it runs. */
export interface BoundRules extends ScaleRules {
  /** How many replicas the rate of its calls alone asks for at most; absent: as many as it may have. */
  readonly mostByRate?: number;
}

// A replica that has less of a core than this waits for the others: 1, 4 and 20 replicas of a quick handler on two cores
// answered 19,900, 15,000 and 4,500 calls a second (64 clients, wrk).
const leastShare = 0.5;
const fewest = 2;

const said = [scaleLabels.types, scaleLabels.target, scaleLabels.proportion, scaleLabels.max];

/**
 * A function's rules by its labels. One that says nothing of its load has a target that is OpenFaaS' guess for anything: by
 * that alone it gets no more replicas than `cores` can feed, half a core each, or less where its limit is less. Calls that
 * have to wait for a slot are no guess, and are not bound by it.
 */
export const boundRules = (
  { labels = {}, limits }: Pick<FunctionSpec, "labels" | "limits">,
  cores: number | undefined,
): BoundRules => {
  const rules = readScaleRules({ labels });
  if (cores === undefined || said.some((label) => label in labels)) return rules;
  const limit = limits?.cpu === undefined ? undefined : parseCpuMillicores(limits.cpu);
  const share = Math.min(leastShare, (limit ?? Number.POSITIVE_INFINITY) / 1000);
  return { ...rules, mostByRate: Math.max(fewest, Math.floor(cores / share)) };
};
