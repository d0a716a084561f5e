import type { ReplicaState } from "./subjects.ts";

/** Amounts in the notation of Kubernetes (`128Mi`, `100m`), kept as they were written (OpenFaaS contract §1.5). */
export interface ResourceAmounts {
  readonly memory?: string;
  readonly cpu?: string;
  readonly "nvidia.com/gpu"?: string;
  readonly "amd.com/gpu"?: string;
  readonly "intel.com/gpu"?: string;
}

/** A function as somebody wishes it: OpenFaaS's FunctionDeployment with `service` called `name`. */
export interface FunctionSpec {
  readonly name: string;
  readonly namespace: string;
  /** An image reference, or `bundle:sha256:<hex>` for code in the object store. */
  readonly image: string;
  readonly envProcess?: string;
  readonly envVars?: Readonly<Record<string, string>>;
  readonly constraints?: readonly string[];
  readonly secrets?: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly limits?: ResourceAmounts;
  readonly requests?: ResourceAmounts;
  readonly readOnlyRootFilesystem?: boolean;
}

/** A value of the bucket `functions`: the wish, and how many replicas of it. */
export interface FunctionRecord {
  readonly spec: FunctionSpec;
  /** Replicas wished for now. */
  readonly replicas: number;
  /** Why the scaler has wished for this count; absent where somebody else did. */
  readonly scaledBecause?: string;
  /** Id of the wish that made this spec: replicas of another revision are replaced. */
  readonly revision: string;
  /** RFC 3339. */
  readonly createdAt: string;
  /** RFC 3339. */
  readonly updatedAt: string;
}

/** One replica as its provider sees it. */
export interface ReplicaRecord {
  readonly id: string;
  readonly state: ReplicaState;
  readonly revision: string;
  /** RFC 3339: when it came into this state. */
  readonly since: string;
  /** The machine that it runs on, where there are several. */
  readonly node?: string;
}

/** A value of the bucket `status`: what the provider observes of one function. */
export interface FunctionStatusRecord {
  readonly replicas: readonly ReplicaRecord[];
  /** What the wish asks for and where it runs is not done, a sentence each; absent when there is nothing. */
  readonly warnings?: readonly string[];
  /** Cores of all machines that functions run on; absent while they are not known. */
  readonly cores?: number;
  /** Why the function does not run as wished; absent when it does. */
  readonly problem?: {
    readonly message: string;
    /** RFC 3339. */
    readonly at: string;
    /** Failed starts in a row. */
    readonly failures: number;
    /** RFC 3339: when the next start is tried. */
    readonly nextTryAt?: string;
  };
}

/** What an `image` that names a bundle begins with. */
export const bundleScheme = "bundle:";

/** The prefix of `image` that names a bundle by its SHA-256 digest. */
export const bundlePrefix = `${bundleScheme}sha256:`;

/** The hex digest of a bundle reference; undefined for an image reference. */
export const bundleDigest = (image: string): string | undefined => /^bundle:sha256:([0-9a-f]{64})$/.exec(image)?.[1];

/** The annotation by which a function's event streams are kept for readers who come back: `true` or `false`. */
export const resumeAnnotation = "com.busker.stream.resume";

/** Whether a function's event streams are kept. */
export const keepsEvents = (spec: Pick<FunctionSpec, "annotations">): boolean =>
  spec.annotations?.[resumeAnnotation] === "true";

/** The most replicas of one function: what is beyond is a mistyped number. */
export const maxReplicas = 10_000;

/** A function's timeout when it sets none, in milliseconds. */
export const defaultTimeoutMs = 60_000;

/** The longest a call may take, in milliseconds: what `exec_timeout: 0` means. */
export const maxTimeoutMs = 24 * 3600_000;

const durationUnits: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3600_000,
};

/** Milliseconds of a Go duration (`1m30s`, `250ms`) or of whole seconds (`30`); undefined when it is neither. */
export const parseDurationMs = (text: string): number | undefined => {
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  if (!/^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$/.test(text)) return undefined;
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g))
    total += Number(amount) * (durationUnits[unit ?? ""] ?? Number.NaN);
  return total;
};

/** The one timeout of a function in milliseconds: its `exec_timeout`, or the default; 0 means the longest there is. */
export const functionTimeoutMs = (spec: Pick<FunctionSpec, "envVars">): number => {
  const text = spec.envVars?.["exec_timeout"];
  if (text === undefined) return defaultTimeoutMs;
  const parsed = parseDurationMs(text) ?? defaultTimeoutMs;
  return parsed === 0 ? maxTimeoutMs : Math.min(parsed, maxTimeoutMs);
};

/** Slots of one replica: `max_inflight`, 0 when unlimited. */
export const functionSlots = (spec: Pick<FunctionSpec, "envVars">): number => {
  const slots = Number(spec.envVars?.["max_inflight"] ?? 0);
  return Number.isInteger(slots) && slots > 0 ? slots : 0;
};

// One in ten that does not come up may be chance, or a machine; the others show that their function does.
const workersPerFailure = 10;

/** Whether failed starts in a row say that the next one will fail, too, beside this many replicas that are ready. */
export const isFailing = (failures: number, ready: number): boolean => failures * workersPerFailure > ready;
