import { functionTimeoutMs } from "../../../schemas/function.ts";
import { formatFunctionName, parseFunctionName } from "../../../schemas/names.ts";
import type { FoundReplica, ReplicaStart } from "../backend.ts";
import { platformLabel } from "./platform-id.ts";

/** The label with a replica's id. */
export const replicaLabel = "com.busker.replica";

const functionLabel = "com.busker.function";
const revisionLabel = "com.busker.revision";
const timeoutLabel = "com.busker.timeout-ms";
const keyLabel = "com.busker.key";
const annotationPrefix = "com.openfaas.annotations.";

/** Labels of a thing that is the platform's and no replica: a network, a volume. */
export const platformLabels = (platform: string): Record<string, string> => ({ [platformLabel]: platform });

/** Whose container it is, and what its credentials are for. */
export interface LabelInput extends ReplicaStart {
  readonly platform: string;
  /** Public nkey of the replica's credentials: what they are renewed for. */
  readonly key: string;
}

/**
 * The labels of a replica's container: the function's own, its annotations, and over both of them ours, by which another
 * provider takes the replica over.
 */
export const containerLabels = ({ spec, id, revision, platform, key }: LabelInput): Record<string, string> => ({
  ...spec.labels,
  ...Object.fromEntries(Object.entries(spec.annotations ?? {}).map(([name, text]) => [annotationPrefix + name, text])),
  "com.openfaas.function": spec.name,
  function: "true",
  ...platformLabels(platform),
  [functionLabel]: formatFunctionName(spec),
  [replicaLabel]: id,
  [revisionLabel]: revision,
  [timeoutLabel]: String(functionTimeoutMs(spec)),
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
