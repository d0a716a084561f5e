import { functionTimeoutMs } from "../../../schemas/function.ts";
import { formatFunctionName, parseFunctionName } from "../../../schemas/names.ts";
import type { FoundReplica, ReplicaStart } from "../backend.ts";
import { platformLabel } from "./platform-id.ts";

/** The label with a replica's id. */
export const replicaLabel = "com.busker.replica";

/** The label with a function's key, `name.namespace`. */
export const functionLabel = "com.busker.function";
/** The label with the id of the wish that made the spec. */
export const revisionLabel = "com.busker.revision";
/** The label with a function's timeout in milliseconds. */
export const timeoutLabel = "com.busker.timeout-ms";
/** The label with the memory limit, as it was written. */
export const memoryLabel = "com.busker.memory";

const keyLabel = "com.busker.key";
const annotationPrefix = "com.openfaas.annotations.";

/** Labels of a thing that is the platform's and no replica: a network, a volume. */
export const platformLabels = (platform: string): Record<string, string> => ({ [platformLabel]: platform });

/**
 * The labels of what runs a function: the function's own, its annotations, and over both of them ours, by which another
 * provider takes it over.
 */
export const functionLabels = ({
  spec,
  revision,
  platform,
}: Omit<ReplicaStart, "id"> & { readonly platform: string }): Record<string, string> => ({
  ...spec.labels,
  ...Object.fromEntries(Object.entries(spec.annotations ?? {}).map(([name, text]) => [annotationPrefix + name, text])),
  "com.openfaas.function": spec.name,
  function: "true",
  ...platformLabels(platform),
  [functionLabel]: formatFunctionName(spec),
  [revisionLabel]: revision,
  [timeoutLabel]: String(functionTimeoutMs(spec)),
  ...(spec.limits?.memory === undefined ? {} : { [memoryLabel]: spec.limits.memory }),
});

/** Whose container it is, and what its credentials are for. */
export interface LabelInput extends ReplicaStart {
  readonly platform: string;
  /** Public nkey of the replica's credentials: what they are renewed for. */
  readonly key: string;
}

/** The labels of a replica's container. */
export const containerLabels = ({ id, key, ...input }: LabelInput): Record<string, string> => ({
  ...functionLabels(input),
  [replicaLabel]: id,
  [keyLabel]: key,
});

/** What the labels of a replica's container tell. */
export type LabelledReplica = Pick<FoundReplica, "id" | "namespace" | "name" | "revision" | "timeoutMs"> & {
  readonly key: string;
};

/** Reads them back; undefined when they are not those of a replica. */
export const readLabels = (labels: Readonly<Record<string, string>>): LabelledReplica | undefined => {
  const [id, fn, revision, timeout, key] = [replicaLabel, functionLabel, revisionLabel, timeoutLabel, keyLabel].map(
    (label) => labels[label],
  );
  const timeoutMs = Number(timeout);
  if (!id || !fn || revision === undefined || !key || !Number.isFinite(timeoutMs)) return undefined;
  return { id, ...parseFunctionName(fn), revision, timeoutMs, key };
};
