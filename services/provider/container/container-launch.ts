import type { Container, ContainerCreateOptions, MountSettings } from "dockerode";
import { recordsBodies, recordsCalls } from "../../../schemas/annotations.ts";
import { functionTimeoutMs, type FunctionSpec } from "../../../schemas/function.ts";
import type { ReplicaLaunch, ReplicaSecrets } from "../../../schemas/launch.ts";
import { secretMountVariable } from "../../../schemas/secret.ts";
import type { SamplingPolicy } from "../../../schemas/span.ts";
import type { ReplicaStart } from "../backend.ts";
import { watchdogFlags } from "../replica-launch.ts";
import { type ImageConfig, imageCommand, imageEnvironment } from "./image.ts";
import { secretMounts } from "./replica-secrets.ts";
import { mountPoint, watchdogCommand, type WatchdogFolder } from "./watchdog-folder.ts";

/** What a replica's watchdog must have from us. */
export interface ContainerPlace {
  readonly folder: WatchdogFolder;
  /** As the container reaches it. */
  readonly natsUrl: string;
  /** Which of its calls are traced; undefined while tracing is off. */
  readonly traces?: SamplingPolicy | undefined;
  /** The text of the replica's creds file. */
  readonly credentials: string;
  /** Of `createReplicaSecrets`; undefined for a function without any. */
  readonly secrets?: ReplicaSecrets | undefined;
}

/** The watchdog's volume, and the folder that it was made from. */
export interface WatchdogVolume {
  readonly name: string;
  readonly folder: WatchdogFolder;
}

/** What an engine sets for each container, and a function of an image may expect. */
const setByEngine: readonly string[] = ["PATH", "HOME", "HOSTNAME"];

const functionEnvironment = (
  spec: FunctionSpec,
  image: ImageConfig,
  secrets: ReplicaSecrets | undefined,
): Record<string, string> => ({
  ...imageEnvironment(image),
  OPENFAAS_NAME: spec.name,
  OPENFAAS_NAMESPACE: spec.namespace,
  ...spec.envVars,
  ...(spec.envProcess === undefined ? {} : { fprocess: spec.envProcess }),
  // Over what the spec says, as for processes.
  ...(secrets === undefined ? {} : { [secretMountVariable]: secrets.folder }),
});

/** What the watchdog of a replica in a container is told. The limits are the engine's to enforce. */
export const buildContainerLaunch = (
  { id, spec, revision }: ReplicaStart,
  image: ImageConfig,
  { folder, natsUrl, traces, credentials, secrets }: ContainerPlace,
): ReplicaLaunch => ({
  replica: id,
  namespace: spec.namespace,
  name: spec.name,
  revision,
  natsUrl,
  credentials,
  timeoutMs: functionTimeoutMs(spec),
  ...(recordsBodies(spec) ? { recordsBodies: true } : {}),
  ...(recordsCalls(spec) ? {} : { recordsNothing: true }),
  ...(traces === undefined ? {} : { traces }),
  cwd: image.WorkingDir || "/",
  env: functionEnvironment(spec, image, secrets),
  inherit: setByEngine,
  command: imageCommand(image),
  loaderArguments: folder.node.slice(1),
  ...(secrets === undefined ? {} : { secrets }),
});

/** A volume, read-only; never filled by an engine from what the image has at that place. */
export const volumeMount = (name: string, target: string): MountSettings => ({
  Type: "volume",
  Source: name,
  Target: target,
  ReadOnly: true,
  VolumeOptions: { NoCopy: true, Labels: {}, DriverConfig: { Name: "", Options: {} } },
});

/**
 * What makes a container of any image a replica; everything else (limits, network, labels, user) is the caller's.
 *
 * - The image's variables are taken out of the container's environment, by their names without a value: they are the
 *   function's, which gets them by the launch, and not the watchdog's, which an LD_PRELOAD or NODE_OPTIONS would break.
 * - An init is process 1: it takes up the orphans that a function leaves, which Node would leave as zombies for ever.
 * - Standard input brings the launch: it is in no file, no environment and no command line.
 */
export const containerOptions = (
  spec: FunctionSpec,
  image: ImageConfig,
  { name, folder }: WatchdogVolume,
): ContainerCreateOptions => ({
  Entrypoint: [...watchdogCommand(folder, watchdogFlags(spec))],
  Cmd: [],
  Env: Object.keys(imageEnvironment(image)),
  AttachStdin: true,
  OpenStdin: true,
  StdinOnce: true,
  // Readiness and end are the watchdog's; the image's own check and signal were made for its own process.
  Healthcheck: { Test: ["NONE"] },
  StopSignal: "SIGTERM",
  HostConfig: {
    Init: true,
    Mounts: [volumeMount(name, mountPoint), ...secretMounts(spec)],
  },
});

/** Starts a container made with `containerOptions` and hands it its launch. */
export const startWithLaunch = async (container: Container, launch: ReplicaLaunch): Promise<void> => {
  // Attached before the start, so that an attachment that fails leaves nothing that runs.
  const input = await container.attach({ stream: true, stdin: true, hijack: true });
  // A container that ends early takes the connection with it: its exit says more than a broken pipe.
  input.on("error", () => undefined);
  try {
    await container.start();
    input.end(JSON.stringify(launch));
  } catch (error) {
    input.end();
    throw error;
  }
  input.resume();
};
