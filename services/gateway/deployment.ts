import { Ajv2020, type ErrorObject } from "ajv/dist/2020.js";
import { BuskerError } from "../../schemas/errors.ts";
import type { FunctionSpec } from "../../schemas/function.ts";
import { functionDeploymentSchema } from "../../schemas/function-schema.ts";
import { checkName, defaultNamespace } from "../../schemas/names.ts";

const validate = new Ajv2020({ allErrors: true, allowUnionTypes: true }).compile(functionDeploymentSchema);

type Deployment = Partial<Omit<FunctionSpec, "name">> & { readonly service: string; readonly image: string };

const describe = (error: ErrorObject): string => {
  const field = error.instancePath.slice(1).replaceAll("/", ".") || "the body";
  return `${field} ${error.message ?? "is not valid"}`;
};

/** Throws `invalid_request` naming each field of a wrong kind and the rule. */
const assertShape = (body: unknown): Deployment => {
  if (validate(body)) return body as Deployment;
  throw new BuskerError("invalid_request", (validate.errors ?? []).map(describe).join("; "));
};

const optionalKeys = [
  "envProcess",
  "envVars",
  "constraints",
  "secrets",
  "labels",
  "annotations",
  "limits",
  "requests",
  "readOnlyRootFilesystem",
] as const;

/**
 * Turns what a client posted (OpenFaaS's FunctionDeployment) into a spec. Fields of older clients are ignored; nulls
 * count as absent. Namespace: the body's, else the query's, else the default (contract trap 17).
 */
export const readDeployment = (body: unknown, queryNamespace: string | undefined): FunctionSpec => {
  const deployment = assertShape(body);
  const optional: Record<string, unknown> = {};
  for (const key of optionalKeys) {
    const value = deployment[key];
    if (value !== undefined && value !== null && value !== "") optional[key] = value;
  }
  return {
    name: checkName("service", deployment.service),
    namespace: checkName("namespace", deployment.namespace || queryNamespace || defaultNamespace),
    image: deployment.image,
    ...optional,
  };
};
