import type { FunctionStatusRecord } from "../../schemas/function.ts";
import type { FunctionEntry } from "./directory.ts";

const unlessEmpty = <T extends object>(key: string, value: T | undefined): Record<string, T> =>
  value !== undefined && Object.keys(value).length > 0 ? { [key]: value } : {};

const unlessZero = (key: string, value: number): Record<string, number> => (value === 0 ? {} : { [key]: value });

/**
 * A function as `GET /system/functions` shows it: OpenFaaS's FunctionStatus (contract §1.5, traps 4, 5, 13), and of
 * ours `replicaStates`, `warnings` and, when it does not run as wished, `problem`.
 */
export const viewFunction = (
  entry: FunctionEntry,
  status: FunctionStatusRecord | undefined,
  invocationCount?: number,
): Record<string, unknown> => {
  const { spec, replicas, createdAt } = entry.record;
  const states = status?.replicas ?? [];
  return {
    name: spec.name,
    namespace: spec.namespace,
    image: spec.image,
    ...(spec.envProcess === undefined ? {} : { envProcess: spec.envProcess }),
    ...unlessEmpty("envVars", spec.envVars),
    ...unlessEmpty("constraints", spec.constraints),
    ...unlessEmpty("secrets", spec.secrets),
    labels: { ...spec.labels, faas_function: spec.name },
    annotations: { ...spec.annotations },
    ...unlessEmpty("limits", spec.limits),
    ...unlessEmpty("requests", spec.requests),
    ...(spec.readOnlyRootFilesystem ? { readOnlyRootFilesystem: true } : {}),
    ...(invocationCount === undefined ? {} : unlessZero("invocationCount", invocationCount)),
    ...unlessZero("replicas", replicas),
    ...unlessZero("availableReplicas", states.filter((replica) => replica.state === "ready").length),
    createdAt,
    replicaStates: states,
    ...unlessEmpty("warnings", status?.warnings),
    ...(status?.problem === undefined ? {} : { problem: status.problem }),
  };
};
