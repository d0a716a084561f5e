import { createHash } from "node:crypto";
import type { ServiceSpec } from "dockerode";
import { functionTimeoutMs, type FunctionRecord, type FunctionSpec } from "../../../schemas/function.ts";
import type { FunctionName } from "../../../schemas/names.ts";
import { parseCpuMillicores, parseMemoryBytes } from "../../../schemas/quantity.ts";
import { taskVariable } from "../../../schemas/enrolment.ts";
import type { BundleSize } from "../../runtime/unpack-bundle.ts";
import { type ImageConfig, imageEnvironment } from "../container/image.ts";
import { functionLabels } from "../container/labels.ts";
import { volumeMount } from "../container/container-launch.ts";
import { secretMounts, secretsLabels } from "../container/replica-secrets.ts";
import { containerUser } from "../container/user.ts";
import { mountPoint, watchdogCommand, type WatchdogFolder } from "../container/watchdog-folder.ts";
import { bundleFolder } from "../container/run-spec.ts";
import { watchdogFlags } from "../replica-launch.ts";
import { roomForBundle } from "./service-bundle.ts";

/** What a service is made with besides its function's wish. */
export interface ServicePlace {
  readonly platform: string;
  /** What every node runs: a reference with a digest, or an image's id. */
  readonly image: string;
  readonly config: ImageConfig;
  readonly folder: WatchdogFolder;
  /** Name of the volume with the watchdog's folder, on every node. */
  readonly watchdogVolume: string;
  /** Processor architecture of the watchdog, as nodes name it. */
  readonly architecture: string;
  readonly networkId: string;
  /** The Docker secret with the bootstrap. */
  readonly bootstrap: { readonly id: string; readonly name: string };
  readonly pidsLimit: number;
  readonly health: HealthTimes;
  /** Of a function's bundle; undefined for an image. */
  readonly bundle: BundleSize | undefined;
}

/** How often an engine looks whether a replica serves, in milliseconds. */
export interface HealthTimes {
  readonly intervalMs: number;
  /** Until it does; only newer engines know the difference. */
  readonly startIntervalMs: number;
}

/** Where a replica finds its bootstrap, and where its engine finds that it serves. */
const bootstrapFile = "/.busker-enrol";
const stateFolder = "/.busker-run";
export const readyFile = `${stateFolder}/ready`;

const nanosPerMs = 1_000_000;
// A start is delayed by the provider, which holds the launch back; this is for containers that do not get that far.
const restartDelayMs = 1000;
// Longer than a watchdog needs beyond its function's timeout to end in order.
const stopExtraMs = 10_000;
// A replica is not killed for being slow to start: failed looks do not count.
const endlessRetries = 1_000_000;
const longestNameCharacters = 63;

const hashOf = (text: string, length: number): string =>
  createHash("sha256").update(text).digest("hex").slice(0, length);

/** A service's name: in one namespace for all platforms of a swarm, and of 63 characters at most. */
export const serviceName = (platform: string, { namespace, name }: FunctionName): string => {
  // Function and namespace hold no underscore.
  const whole = `busker-${platform}_${namespace}_${name}`;
  if (whole.length <= longestNameCharacters) return whole;
  return `${whole.slice(0, longestNameCharacters - 17)}_${hashOf(whole, 16)}`;
};

const amounts = ({ memory, cpu }: { readonly memory?: string; readonly cpu?: string } = {}) => {
  const bytes = memory === undefined ? undefined : parseMemoryBytes(memory);
  const millicores = cpu === undefined ? undefined : parseCpuMillicores(cpu);
  return {
    ...(bytes === undefined ? {} : { MemoryBytes: bytes }),
    ...(millicores === undefined ? {} : { NanoCPUs: millicores * nanosPerMs }),
  };
};

const tmpfs = (Target: string, more: object) => ({
  Type: "tmpfs" as const,
  Target,
  TmpfsOptions: { Mode: 0o1777, ...more },
});

// Engines before API 1.46 do not know the option, and allow no program to be run from there.
const allowPrograms = { Options: [["exec"]] };

const mountsOf = (spec: FunctionSpec, { watchdogVolume, bundle }: ServicePlace) => [
  volumeMount(watchdogVolume, mountPoint),
  // In memory and its container's alone: nobody could remove a volume from another machine. It is not set as the folder to
  // start in, because an engine would make it first, and give the file system that folder's mode instead of ours (runc 1.1).
  ...(bundle === undefined ? [] : [tmpfs(bundleFolder, { SizeBytes: roomForBundle(bundle), ...allowPrograms })]),
  ...secretMounts(spec),
  tmpfs(stateFolder, { SizeBytes: 64 * 1024 }),
  ...(spec.readOnlyRootFilesystem ? [tmpfs("/tmp", allowPrograms)] : []),
];

/** The loader checks a link that the watchdog makes once it serves: no other program is sure to be there. */
const healthcheckOf = ({ folder, health }: ServicePlace) => {
  const [loader = "", ...more] = folder.node.slice(0, -1);
  const isGlibc = more.includes("--inhibit-cache");
  return {
    Test: ["CMD", loader, ...(isGlibc ? ["--verify"] : [...more, "--list"]), readyFile],
    Interval: health.intervalMs * nanosPerMs,
    StartInterval: health.startIntervalMs * nanosPerMs,
    // Only within it do newer engines look at the shorter interval.
    StartPeriod: 3600_000 * nanosPerMs,
    Timeout: 10_000 * nanosPerMs,
    Retries: endlessRetries,
  };
};

const containerOf = (record: FunctionRecord, place: ServicePlace, labels: Record<string, string>) => {
  const { spec } = record;
  const { config, folder, bootstrap } = place;
  const user = containerUser(spec, config);
  return {
    Image: place.image,
    Labels: labels,
    Command: [...watchdogCommand(folder, watchdogFlags(spec)).slice(0, -1), `enrol:${bootstrapFile}`],
    // The image's own variables are the function's, which gets them by its launch, and not the watchdog's.
    Env: [...Object.keys(imageEnvironment(config)), `${taskVariable}={{.Task.ID}}`],
    ...(user === "" ? {} : { User: user }),
    Init: true,
    ReadOnly: spec.readOnlyRootFilesystem === true,
    CapabilityDrop: ["ALL"],
    // Engines before API 1.46 do not know it.
    Privileges: { NoNewPrivileges: true },
    StopSignal: "SIGTERM",
    StopGracePeriod: (functionTimeoutMs(spec) + stopExtraMs) * nanosPerMs,
    Healthcheck: healthcheckOf(place),
    Mounts: mountsOf(spec, place),
    Secrets: [
      {
        SecretID: bootstrap.id,
        SecretName: bootstrap.name,
        File: { Name: bootstrapFile, UID: "0", GID: "0", Mode: 0o444 },
      },
    ],
  };
};

const constraintsOf = ({ constraints = [] }: FunctionSpec, { architecture }: ServicePlace): readonly string[] => [
  ...(constraints.length === 0 ? ["node.platform.os==linux"] : constraints),
  `node.platform.arch==${architecture}`,
];

/** How many replicas are replaced at a time in an update: a quarter of them. */
const updateStep = (replicas: number): number => Math.max(1, Math.ceil(replicas / 4));

const updateConfig = (replicas: number, FailureAction: "rollback" | "pause") => ({
  Parallelism: updateStep(replicas),
  FailureAction,
  Order: "start-first" as const,
});

/** The service of a function: all that the engine does for it (OpenFaaS contract §15.2, without its faults). */
export const serviceSpec = (record: FunctionRecord, place: ServicePlace): ServiceSpec => {
  const { spec, revision, replicas } = record;
  const labels = { ...functionLabels({ spec, revision, platform: place.platform }), ...secretsLabels(spec) };
  const limits = { ...amounts(spec.limits), Pids: place.pidsLimit };
  return {
    Name: serviceName(place.platform, spec),
    Labels: labels,
    TaskTemplate: {
      ContainerSpec: containerOf(record, place, labels),
      Resources: { Limits: limits, Reservations: amounts(spec.requests) },
      RestartPolicy: { Condition: "any", Delay: restartDelayMs * nanosPerMs, MaxAttempts: 0 },
      Placement: { Constraints: [...constraintsOf(spec, place)] },
      // What the engine keeps is the watchdog's own words only; the function's lines go over the bus.
      LogDriver: { Name: "json-file", Options: { "max-size": "1m", "max-file": "1" } },
      Networks: [{ Target: place.networkId }],
    },
    Mode: { Replicated: { Replicas: replicas } },
    UpdateConfig: updateConfig(replicas, "rollback"),
    RollbackConfig: updateConfig(replicas, "pause"),
    EndpointSpec: { Mode: "dnsrr" },
    // dockerode's types lack what newer engines take, and want what every engine lets one leave out.
  } as unknown as ServiceSpec;
};
