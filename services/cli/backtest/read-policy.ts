import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { scaleLabelFaults, scaleLabels } from "../../../schemas/scale-labels.ts";
import { describeError } from "../../runtime/log.ts";
import { usageError } from "../usage-error.ts";

type Labels = Readonly<Record<string, string>>;

const known: readonly string[] = Object.values(scaleLabels);

const isScalar = (value: unknown): boolean => ["string", "number", "boolean"].includes(typeof value);

/** The label that a key means: whole, or what follows `scale.` in it. */
const labelOf = (key: string): string => {
  const label = known.find((one) => one === key || one.endsWith(`.scale.${key}`));
  if (label !== undefined) return label;
  throw usageError(`${JSON.stringify(key)} is no label of scaling; those are ${known.join(", ")}`);
};

const readPairs = (text: string): Labels => {
  const pairs: [string, string][] = [];
  for (const part of text.split(",")) {
    const at = part.indexOf("=");
    // A type may be several words with commas in between.
    const last = pairs.at(-1);
    if (at > 0) pairs.push([part.slice(0, at).trim(), part.slice(at + 1).trim()]);
    else if (last) last[1] += `,${part.trim()}`;
    else
      throw usageError(`a policy must be a file, or labels as key=value joined by commas; got ${JSON.stringify(text)}`);
  }
  return Object.fromEntries(pairs);
};

const readFile = (path: string): Labels => {
  let content: unknown;
  try {
    content = parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw usageError(`cannot read the policy ${path}: ${describeError(error)}`);
  }
  const labels = typeof content === "object" && content !== null && "labels" in content ? content.labels : content;
  if (typeof labels === "object" && labels !== null && !Array.isArray(labels) && Object.values(labels).every(isScalar))
    return Object.fromEntries(
      Object.entries(labels)
        // A whole function.yaml will do: its other labels have nothing to do with scaling.
        .filter(([key]) => !key.includes(".") || known.includes(key) || key.includes(".scale."))
        .map(([key, value]) => [key, String(value)]),
    );
  throw usageError(`the policy ${path} must be a map from labels to values, or have one under "labels"`);
};

/**
 * Reads a policy: labels of scaling as `key=value,…`, or a YAML file with a map of them, at its top or under `labels`. A
 * key may leave out what is before and with `scale.`. Throws a usage error naming what is no such label or breaks its rule.
 */
export const readPolicy = (text: string): Labels => {
  const given = Object.entries(text.includes("=") ? readPairs(text) : readFile(text));
  const labels = Object.fromEntries(given.map(([key, value]) => [labelOf(key), value]));
  const faults = scaleLabelFaults(labels);
  if (faults.length > 0) throw usageError(`the policy cannot be used: ${faults.join("; ")}`);
  return labels;
};
