import { recordsBodies, recordsCalls } from "../../schemas/annotations.ts";
import { functionTimeoutMs, type FunctionSpec } from "../../schemas/function.ts";
import type { ReplicaLaunch } from "../../schemas/launch.ts";
import { parseCpuMillicores, parseMemoryBytes } from "../../schemas/quantity.ts";
import { secretMountVariable } from "../../schemas/secret.ts";
import type { SamplingPolicy } from "../../schemas/span.ts";
import type { ReplicaStart } from "./backend.ts";
import type { ReplicaPaths } from "./replica-folder.ts";

/** Where a replica starts: its own folder, its code, and the bus. */
export interface LaunchPlace {
  readonly paths: ReplicaPaths;
  readonly bundleFolder: string;
  readonly natsUrl: string;
  /** Which of its calls are traced; undefined while tracing is off. */
  readonly traces?: SamplingPolicy | undefined;
  /** PATH of the function. */
  readonly path: string;
  /** Where its secrets are; undefined for a function that has none. */
  readonly secretFolder: string | undefined;
}

/** The variable by which every process of a replica can be found. */
export const markerVariable = "TMPDIR";

// Nothing of the host goes in but these: not its secrets, not its settings.
const functionEnvironment = (
  spec: FunctionSpec,
  { paths, path, secretFolder }: LaunchPlace,
): Record<string, string> => ({
  PATH: path,
  HOME: paths.home,
  LANG: "C.UTF-8",
  OPENFAAS_NAME: spec.name,
  OPENFAAS_NAMESPACE: spec.namespace,
  ...spec.envVars,
  ...(spec.envProcess === undefined ? {} : { fprocess: spec.envProcess }),
  // Over what the spec says: a function from elsewhere may name the folder that its secrets had there.
  ...(secretFolder === undefined ? {} : { [secretMountVariable]: secretFolder }),
  [markerVariable]: paths.tmp,
});

const memoryLimit = (spec: FunctionSpec): number | undefined =>
  spec.limits?.memory === undefined ? undefined : parseMemoryBytes(spec.limits.memory);

/** The CPU limit of one replica in thousandths of a core. */
export const cpuLimit = ({ limits }: FunctionSpec): number | undefined =>
  limits?.cpu === undefined ? undefined : parseCpuMillicores(limits.cpu);

/** What the watchdog of a replica is told. */
export const buildLaunch = ({ id, spec, revision }: ReplicaStart, place: LaunchPlace): ReplicaLaunch => {
  const memoryLimitBytes = memoryLimit(spec);
  return {
    replica: id,
    namespace: spec.namespace,
    name: spec.name,
    revision,
    natsUrl: place.natsUrl,
    credentialsFile: place.paths.credentials,
    timeoutMs: functionTimeoutMs(spec),
    ...(recordsBodies(spec) ? { recordsBodies: true } : {}),
    ...(recordsCalls(spec) ? {} : { recordsNothing: true }),
    ...(place.traces === undefined ? {} : { traces: place.traces }),
    cwd: place.bundleFolder,
    env: functionEnvironment(spec, place),
    ...(memoryLimitBytes === undefined ? {} : { memoryLimitBytes }),
  };
};

/** Whether the function's code runs in the watchdog's own process, which then must have the function's environment. */
export const isHandler = (spec: FunctionSpec): boolean => spec.envVars?.["mode"] === "handler";

const mebibyte = 1024 * 1024;
// What a watchdog holds besides the handler's heap.
const ownMebibytes = 48;
const leastHeapMebibytes = 16;

// V8 lets the young generation grow to 16 MB; at 2 MB a busy echo handler holds 33 to 45 MB instead of 60, at the same CPU
// per call (measured; at 1 MB it is a tenth slower).
const baseFlags: readonly string[] = ["--max-semi-space-size=2"];

/**
 * Node's flags for a watchdog. A handler runs in the watchdog itself, so its heap gets what the limit leaves it:
 * V8 then collects garbage before the limit instead of growing into it.
 */
export const watchdogFlags = (spec: FunctionSpec): readonly string[] => {
  const limitBytes = memoryLimit(spec);
  if (limitBytes === undefined || !isHandler(spec)) return baseFlags;
  const heap = Math.max(leastHeapMebibytes, Math.floor(limitBytes / mebibyte) - ownMebibytes);
  return [...baseFlags, `--max-old-space-size=${heap}`];
};
