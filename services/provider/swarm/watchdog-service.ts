import { createHash } from "node:crypto";
import type Docker from "dockerode";
import type { AuthConfig } from "dockerode";
import { BuskerError } from "../../../schemas/errors.ts";
import { platformLabel } from "../container/platform-id.ts";
import type { WatchdogFolder } from "../container/watchdog-folder.ts";
import { createService, unlessMissing, updateService } from "./engine-calls.ts";
import type { SwarmNodeFacts, SwarmTask } from "./task-view.ts";

/*
 * The watchdog's volume on every node: a global service runs one task on each, of an image that fills the volume it is
 * given at `volumeTarget` and ends. On a node that joins later the engine runs one by itself.
 */

/** Where the image of the watchdog finds the volume that it is to fill. */
export const volumeTarget = "/target";

/** Keeps the watchdog's volume on every node. */
export interface WatchdogService {
  readonly volume: string;
  /** Resolves when every node that is ready has the volume, once; rejects with why one has not. */
  readonly ready: () => Promise<void>;
}

/** What it is made of. */
export interface WatchdogServiceParts {
  readonly docker: Docker;
  readonly platform: string;
  readonly folder: WatchdogFolder;
  /** The image that fills the volume. */
  readonly image: string;
  readonly architecture: string;
  /** What nodes fetch the image with. */
  readonly auth: AuthConfig | undefined;
}

const fillScript = "services/provider/fill-watchdog.js";
const lookMs = 100;
const fillMs = 60_000;
const nanosPerSecond = 1_000_000_000;
const contentLabel = "com.busker.content";

const specOf = ({ platform, folder, image, architecture }: WatchdogServiceParts, volume: string) => {
  const content = createHash("sha256").update(`${image} ${volume}`).digest("hex").slice(0, 16);
  const labels = { [platformLabel]: platform, [contentLabel]: content };
  return {
    content,
    spec: {
      Name: `busker-watchdog-${platform}`,
      Labels: labels,
      TaskTemplate: {
        ContainerSpec: {
          Image: image,
          // As infra/watchdog/Dockerfile has it, and refused there when what it has is not what we expect.
          Args: [fillScript, volumeTarget, "--version", folder.version],
          Labels: { ...labels, "com.busker.watchdog": folder.version },
          Mounts: [{ Type: "volume", Source: volume, Target: volumeTarget, VolumeOptions: { NoCopy: true } }],
          // It writes what functions run: whatever user the image has, the volume is root's.
          User: "0:0",
          CapabilityDrop: ["ALL"],
          CapabilityAdd: ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER"],
        },
        RestartPolicy: { Condition: "on-failure", Delay: nanosPerSecond, MaxAttempts: 0 },
        Placement: { Constraints: ["node.platform.os==linux", `node.platform.arch==${architecture}`] },
      },
      Mode: { Global: {} },
      EndpointSpec: { Mode: "dnsrr" },
    },
  };
};

const ensureService = async (
  { docker, auth }: WatchdogServiceParts,
  { content, spec }: ReturnType<typeof specOf>,
): Promise<string> => {
  const facts = await unlessMissing(docker.getService(spec.Name).inspect() as Promise<unknown>);
  const present = facts as
    | { ID: string; Version: { Index: number }; Spec: { Labels?: Record<string, string> } }
    | undefined;
  if (!present) return createService(docker, spec, auth);
  if (present.Spec.Labels?.[platformLabel] !== spec.Labels[platformLabel])
    throw new BuskerError(
      "conflict",
      `there is a service ${spec.Name} that is not this platform's; remove or rename it`,
    );
  if (present.Spec.Labels[contentLabel] !== content) await updateService(docker, present, spec, auth);
  return present.ID;
};

/** What every node can run: an image that this engine has is named by its content, so that no node looks for another. */
const referenceOf = async (docker: Docker, image: string): Promise<string> => {
  const facts = await unlessMissing(docker.getImage(image).inspect());
  return facts?.RepoDigests[0] ?? facts?.Id ?? image;
};

/** Starts the service unless it is there, and gives its volume. */
export const openWatchdogService = async (parts: WatchdogServiceParts): Promise<WatchdogService> => {
  const { docker, folder, architecture, image } = parts;
  const volume = `busker-watchdog-${folder.version}-${process.arch}`;
  const wanted = specOf({ ...parts, image: await referenceOf(docker, image) }, volume);
  const id = await ensureService(parts, wanted);

  /** Names of ready nodes without the volume, and what the newest of their tasks says. */
  const look = async (): Promise<readonly string[]> => {
    const tasks = (await docker.listTasks({ filters: { service: [id] } })) as readonly SwarmTask[];
    const nodes = (await docker.listNodes()) as unknown as readonly SwarmNodeFacts[];
    const isOurs = (node: SwarmNodeFacts): boolean => node.Description.Platform?.Architecture === architecture;
    return nodes
      .filter((node) => node.Status.State === "ready" && isOurs(node))
      .flatMap(({ ID, Description }) => {
        const own = tasks.filter(
          (task) => task.NodeID === ID && task.Spec.ContainerSpec?.Labels?.[contentLabel] === wanted.content,
        );
        if (own.some(({ Status }) => Status.State === "complete")) return [];
        const newest = own.toSorted((a, b) => b.CreatedAt.localeCompare(a.CreatedAt));
        const said = newest.map(({ Status }) => Status.Err).find((text) => text !== undefined && text !== "");
        return [`${Description.Hostname}${said === undefined ? "" : ` (${said})`}`];
      });
  };
  const untilFilled = async (): Promise<void> => {
    const endMs = performance.now() + fillMs;
    for (;;) {
      const missing = await look();
      if (missing.length === 0) return;
      if (performance.now() > endMs)
        throw new BuskerError(
          "start_failed",
          `the image ${image} has not filled the watchdog's volume on ${missing.join(", ")} within ${fillMs / 1000} s; it must be of the provider's own version`,
        );
      await new Promise((resolve) => setTimeout(resolve, lookMs));
    }
  };
  let filled: Promise<void> | undefined;
  return {
    volume,
    ready: () => {
      filled ??= untilFilled().catch((error: unknown) => {
        filled = undefined;
        throw error;
      });
      return filled;
    },
  };
};
