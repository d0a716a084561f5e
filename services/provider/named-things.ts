import { BuskerError } from "../../schemas/errors.ts";
import type { FunctionSpec } from "../../schemas/function.ts";
import { defaultNamespace } from "../../schemas/names.ts";
import type { Bucket } from "../bus/kv.ts";

/** A value of the bucket `namespaces`. */
export interface NamespaceRecord {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

/** Makes the default namespace unless it is there. */
export const ensureDefaultNamespace = async (namespaces: Pick<Bucket<NamespaceRecord>, "create">): Promise<void> => {
  await namespaces
    .create(defaultNamespace, { name: defaultNamespace, labels: {}, annotations: {} })
    .catch((error: unknown) => {
      if (!(error instanceof BuskerError && error.code === "conflict")) throw error;
    });
};

// A secret's name comes from a client; only one that can be a key can exist.
const secretPattern = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$/;

/** Throws `invalid_request` when the namespace or a secret that a spec names does not exist. */
export const assertNamedThings = async (
  { namespace, secrets = [] }: FunctionSpec,
  buckets: {
    readonly namespaces: Pick<Bucket<NamespaceRecord>, "get">;
    readonly secrets: Pick<Bucket<unknown>, "get">;
  },
): Promise<void> => {
  if (!(await buckets.namespaces.get(namespace)))
    throw new BuskerError(
      "invalid_request",
      `there is no namespace ${namespace}; make it first, or use ${defaultNamespace}`,
    );
  const missing: string[] = [];
  for (const secret of secrets)
    if (!secretPattern.test(secret) || !(await buckets.secrets.get(`${secret}.${namespace}`))) missing.push(secret);
  if (missing.length > 0)
    throw new BuskerError(
      "invalid_request",
      `there is no secret ${missing.map((name) => JSON.stringify(name)).join(", ")} in namespace ${namespace}; make it first`,
    );
};
