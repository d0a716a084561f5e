import type Docker from "dockerode";
import type { ContainerInfo } from "dockerode";
import { describeError, type Log } from "../../runtime/log.ts";
import { platformLabels } from "../container/labels.ts";
import { ensureLocalImage } from "../container/local-image.ts";
import { platformLabel } from "../container/platform-id.ts";
import { idleProgram } from "./idle-program.ts";
import type { NamespaceNetworks } from "./namespace-networks.ts";
import type { Removals } from "./removals.ts";

/*
 * Most of a container's start is its network: an engine took 440 ms to start one in a bridge, and 146 ms to start it in the
 * network of another that ran already (medians of 10, two busy cores). So a container that does nothing is kept with a
 * network that is ready, and the next replica of the namespace starts in it: one for one, for that replica's whole life.
 * A burst of starts uses up what is kept; the others then make their own network, as any container does, and nothing is
 * made ready before they are done.
 */

/** Networks that are ready for replicas, each held by a container that does nothing. */
export interface ReadyNetworks {
  /** A start is under way from now until the function that this gives is called. */
  readonly begin: () => () => void;
  /** The id of a container whose network a replica may have for itself; undefined when none is ready. */
  readonly take: (namespace: string) => string | undefined;
  /** Removes the holder of a network whose replica has ended, or did not start. */
  readonly release: (holder: string) => Promise<void>;
  /** Takes over what an earlier provider has left, and removes it where no replica has it. */
  readonly adopt: (used: ReadonlySet<string>) => Promise<void>;
  /** Keeps networks ready in these namespaces and in no other. */
  readonly keep: (namespaces: ReadonlySet<string>) => Promise<void>;
  /** Whether a container holds a network that may be taken. */
  readonly has: (containerId: string) => boolean;
  /** A holder has ended: it is not given to anybody any more. */
  readonly lose: (holder: string) => void;
  /** Removes all that no replica has. */
  readonly close: () => Promise<void>;
}

/** What they need. */
export interface ReadyNetworksOptions {
  readonly docker: Docker;
  readonly platform: string;
  readonly networks: Pick<NamespaceNetworks, "ensure">;
  readonly remove: Removals["remove"];
  readonly log: Log;
}

/** The label of a container that holds a network: its namespace. */
export const holderLabel = "com.busker.network-of";

// Two functions may be called at the same moment; more at once is a burst, which waits for the processor anyway.
const keptPerNamespace = 2;
// So many starts under way are a burst, and nothing is made ready until it is over: a holder costs more than the start it
// would speed up saves.
const burstStarts = 3;

/** All the containers of a platform that hold a network, whatever they are at. */
export const listHolders = (docker: Docker, platform: string): Promise<readonly ContainerInfo[]> =>
  docker.listContainers({ all: true, filters: { label: [`${platformLabel}=${platform}`, holderLabel] } });

const ensureImage = (docker: Docker, program: Buffer): Promise<string> =>
  ensureLocalImage(docker, {
    name: `busker/idle:1-${process.arch}`,
    changes: ['ENTRYPOINT ["/idle"]'],
    parts: [{ kind: "text", name: "idle", mode: 0o555, text: program }],
  });

/** Opens them; none is kept before `keep`. */
export const openReadyNetworks = (options: ReadyNetworksOptions): ReadyNetworks => {
  const { docker, platform, networks, remove, log } = options;
  const program = idleProgram(process.arch);
  const ready = new Map<string, string[]>();
  const listOf = (namespace: string): string[] => {
    const list = ready.get(namespace) ?? [];
    ready.set(namespace, list);
    return list;
  };
  let wanted: ReadonlySet<string> = new Set();
  let work: Promise<void> = Promise.resolve();
  let underWay = 0;

  const make = async (namespace: string, image: string): Promise<void> => {
    const container = await docker.createContainer({
      Image: image,
      User: "65534:65534",
      // A program that is process 1 and handles no signal hears no other: an engine that stops would wait for it.
      StopSignal: "SIGKILL",
      Labels: { ...platformLabels(platform), [holderLabel]: namespace },
      HostConfig: {
        NetworkMode: await networks.ensure(namespace),
        CapDrop: ["ALL"],
        SecurityOpt: ["no-new-privileges"],
        ReadonlyRootfs: true,
        PidsLimit: 1,
        LogConfig: { Type: "none", Config: {} },
      },
    });
    try {
      await container.start();
    } catch (error) {
      await remove(container.id);
      throw error;
    }
    if (wanted.has(namespace)) listOf(namespace).push(container.id);
    else await remove(container.id);
  };

  const drop = async (namespace: string): Promise<void> => {
    const held = ready.get(namespace) ?? [];
    ready.delete(namespace);
    await Promise.all(held.map(remove));
  };

  const bringAbout = async (): Promise<void> => {
    await Promise.all([...ready.keys()].filter((namespace) => !wanted.has(namespace)).map(drop));
    if (!program || wanted.size === 0 || isBurst()) return;
    const image = await ensureImage(docker, program);
    for (const namespace of wanted)
      while (wanted.has(namespace) && listOf(namespace).length < keptPerNamespace && !isBurst())
        await make(namespace, image);
  };

  const isBurst = (): boolean => underWay >= burstStarts;

  // One after the other: two at a time would keep twice as many.
  const settle = (): Promise<void> => {
    work = work.then(bringAbout).catch((error: unknown) => {
      // Nothing depends on it: starts are only slower.
      log.warn("could not keep networks ready", { error: describeError(error) });
    });
    return work;
  };

  return {
    begin: () => {
      underWay += 1;
      return () => {
        underWay -= 1;
        if (!isBurst()) void settle();
      };
    },
    take: (namespace) => ready.get(namespace)?.shift(),
    release: remove,
    adopt: async (used) => {
      const left = (await listHolders(docker, platform)).filter(({ Id }) => !used.has(Id));
      await Promise.all(left.map(({ Id }) => remove(Id)));
    },
    keep: (namespaces) => {
      wanted = namespaces;
      return settle();
    },
    has: (containerId) => [...ready.values()].some((held) => held.includes(containerId)),
    lose: (holder) => {
      for (const [namespace, held] of ready) {
        if (!held.includes(holder)) continue;
        ready.set(
          namespace,
          held.filter((id) => id !== holder),
        );
        void remove(holder);
      }
    },
    close: () => {
      wanted = new Set();
      return settle();
    },
  };
};
