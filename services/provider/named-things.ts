import { BuskerError } from "../../schemas/errors.ts";
import { registrySecretAnnotation } from "../../schemas/annotations.ts";
import type { FunctionSpec } from "../../schemas/function.ts";
import { defaultNamespace } from "../../schemas/names.ts";
import type { Bucket } from "../bus/kv.ts";
import type { SecretStore } from "./secret-store.ts";

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

/** What is asked of the bucket `namespaces`. */
export type NamespaceBucket = Pick<Bucket<NamespaceRecord>, "get">;

/** Throws `invalid_request` when there is no such namespace. */
export const assertNamespace = async (namespaces: NamespaceBucket, namespace: string): Promise<void> => {
  if (!(await namespaces.get(namespace)))
    throw new BuskerError(
      "invalid_request",
      `there is no namespace ${namespace}; make it first, or use ${defaultNamespace}`,
    );
};

/** The secrets that a function cannot be started without: its own, and the one with its registry's credentials. */
export const secretsOf = ({ secrets = [], annotations }: FunctionSpec): readonly string[] => {
  const ofRegistry = annotations?.[registrySecretAnnotation];
  return ofRegistry === undefined || secrets.includes(ofRegistry) ? secrets : [...secrets, ofRegistry];
};

/** Throws `invalid_request` when the namespace or a secret that a spec names does not exist. */
export const assertNamedThings = async (
  spec: FunctionSpec,
  {
    namespaces,
    secrets: store,
  }: {
    readonly namespaces: NamespaceBucket;
    readonly secrets: Pick<SecretStore, "has">;
  },
): Promise<void> => {
  const { namespace } = spec;
  await assertNamespace(namespaces, namespace);
  const missing = secretsOf(spec).filter((name) => !store.has({ namespace, name }));
  if (missing.length > 0)
    throw new BuskerError(
      "invalid_request",
      `there is no secret ${missing.map((name) => JSON.stringify(name)).join(", ")} in namespace ${namespace}; make it first`,
    );
};
