import { BuskerError } from "../../schemas/errors.ts";
import { bundleScheme, type FunctionSpec, type ResourceAmounts } from "../../schemas/function.ts";
import type { FunctionName } from "../../schemas/names.ts";
import { parseCpuMillicores, parseMemoryBytes } from "../../schemas/quantity.ts";
import { scaleLabelFaults } from "../../schemas/scale-labels.ts";
import { checkAnnotations } from "./check-annotations.ts";
import { checkCommand, checkEnvironment } from "./check-environment.ts";

type Shape = (value: unknown) => boolean;

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isText: Shape = (value) => typeof value === "string";
const isTexts: Shape = (value) => Array.isArray(value) && value.every(isText);
const isTextMap: Shape = (value) => isRecord(value) && Object.values(value).every(isText);

const shapes: readonly (readonly [keyof FunctionSpec, Shape, string])[] = [
  ["envProcess", isText, "text"],
  ["envVars", isTextMap, "a map of texts"],
  ["constraints", isTexts, "a list of texts"],
  ["secrets", isTexts, "a list of texts"],
  ["labels", isTextMap, "a map of texts"],
  ["annotations", isTextMap, "a map of texts"],
  ["limits", isTextMap, "a map of texts"],
  ["requests", isTextMap, "a map of texts"],
  ["readOnlyRootFilesystem", (value) => typeof value === "boolean", "true or false"],
];

const checkShape = (spec: Record<string, unknown>, { namespace, name }: FunctionName): readonly string[] => {
  const faults = shapes.flatMap(([key, holds, rule]) =>
    spec[key] === undefined || holds(spec[key]) ? [] : [`${key} must be ${rule}; got ${JSON.stringify(spec[key])}`],
  );
  if (typeof spec["image"] !== "string" || spec["image"] === "")
    faults.push(`image must be text; got ${JSON.stringify(spec["image"])}`);
  if (spec["name"] !== name)
    faults.push(`name must be that of the subject, ${name}; got ${JSON.stringify(spec["name"])}`);
  if (spec["namespace"] !== namespace)
    faults.push(`namespace must be that of the subject, ${namespace}; got ${JSON.stringify(spec["namespace"])}`);
  return faults;
};

const checkAmounts = (field: "limits" | "requests", { memory, cpu, ...others }: ResourceAmounts): readonly string[] => [
  ...Object.entries(others).flatMap(([key, count]) =>
    !key.endsWith("/gpu") || /^\d{1,3}$/.test(count)
      ? []
      : [`${field}.${key} must be a whole number; got ${JSON.stringify(count)}`],
  ),
  ...(memory === undefined || parseMemoryBytes(memory) !== undefined
    ? []
    : [`${field}.memory must be an amount of bytes such as 128Mi; got ${JSON.stringify(memory)}`]),
  ...(cpu === undefined || parseCpuMillicores(cpu) !== undefined
    ? []
    : [`${field}.cpu must be an amount of cores such as 100m or 0.5; got ${JSON.stringify(cpu)}`]),
];

const checkContent = (spec: FunctionSpec): readonly string[] => [
  ...checkEnvironment(spec.envVars ?? {}),
  ...(spec.image.startsWith(bundleScheme) ? checkCommand(spec.envVars ?? {}, spec.envProcess) : []),
  ...scaleLabelFaults(spec.labels ?? {}),
  ...checkAnnotations(spec),
  ...checkAmounts("limits", spec.limits ?? {}),
  ...checkAmounts("requests", spec.requests ?? {}),
];

/**
 * Gives a spec back when it can be carried out, as far as it shows by itself. Anyone may publish a wish, so nothing is
 * taken for granted. Throws one `invalid_request` that names every faulty field, rule and value.
 */
export const checkSpec = (value: unknown, name: FunctionName): FunctionSpec => {
  const refuse = (faults: readonly string[]): never => {
    throw new BuskerError("invalid_request", faults.join("; "));
  };
  if (!isRecord(value)) return refuse([`spec must be an object; got ${JSON.stringify(value)}`]);
  const faults = checkShape(value, name);
  if (faults.length > 0) refuse(faults);
  const spec = value as unknown as FunctionSpec;
  const wrong = checkContent(spec);
  return wrong.length > 0 ? refuse(wrong) : spec;
};
