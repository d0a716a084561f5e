import type Docker from "dockerode";
import type { ContainerInfo } from "dockerode";
import type { FunctionName } from "../../../schemas/names.ts";
import { describeError, type Log } from "../../runtime/log.ts";
import type { ReplicaExit } from "../backend.ts";
import { replicaLabel } from "../container/labels.ts";
import { readEnd } from "./container-end.ts";
import { type ContainerPause, createPause } from "./container-pause.ts";
import { type ContainerWishes, createWishes } from "./container-wishes.ts";
import { type ContainerEvent, followEngine } from "./engine-events.ts";
import { findRunning, type FoundContainer, hasEnded, listReplicaContainers } from "./listed-containers.ts";
import { hasLostNetwork, lacksNetwork } from "./network-loss.ts";
import { holderLabel, listHolders } from "./ready-networks.ts";
import { openRemovals, type Removals } from "./removals.ts";

/** A replica whose container is there, or about to be started. */
export interface RunningContainer extends FunctionName {
  readonly id: string;
  readonly containerId: string;
  /** As the function's spec has it; undefined when there is none, or nobody remembers. */
  readonly memoryLimit?: string | undefined;
  /** The bundle it runs; undefined for an image's function. */
  readonly digest?: string | undefined;
  /** The container whose network it has; it goes when this one is gone, and takes it along when it ends. */
  readonly holder?: string | undefined;
}

/** The containers of a platform's replicas in one engine. */
export interface ReplicaContainers extends Removals {
  /** No container of this replica is taken for a left one until it is entered or `settle` is called. */
  readonly begin: (id: string) => void;
  readonly settle: (id: string) => void;
  /** From now on its end is told. */
  readonly enter: (replica: RunningContainer) => void;
  /** Its end is told no more: it has not started. */
  readonly leave: (id: string) => void;
  readonly all: () => readonly RunningContainer[];
  readonly stop: (id: string) => void;
  readonly kill: (id: string) => void;
  /** Pauses a replica's container, and has it go on; whoever else pauses one is not obeyed. */
  readonly freeze: (id: string) => Promise<void>;
  readonly thaw: (id: string) => Promise<void>;
  /** Enters what runs, removes what does not, and follows the engine from now on. */
  readonly adopt: () => Promise<readonly FoundContainer[]>;
  /** Stops following; resolves when what has ended is removed. */
  readonly close: () => Promise<void>;
}

/** What they need. */
export interface ReplicaContainersOptions {
  readonly docker: Docker;
  readonly platform: string;
  readonly log: Log;
  readonly onExit: (exit: ReplicaExit) => void;
  /** A process of a replica that lives on was killed for want of memory. */
  readonly onOutOfMemory: (replica: RunningContainer) => void;
  /** A container that holds a network has ended, or has lost the network. */
  readonly onHolderEnd: (holder: string) => void;
  /** Whether a container holds a network that no replica has yet. */
  readonly isReadyHolder: (containerId: string) => boolean;
}

interface Entry {
  readonly replica: RunningContainer;
  readonly wishes: ContainerWishes;
  readonly pause: ContainerPause;
  /** Why we have ended it, where the engine cannot know. */
  lostReason: string | undefined;
  outOfMemoryMs: number | undefined;
  isEnding: boolean;
}

// A replica whose function was killed ends within this; one that goes on had lost a single call's process.
const outOfMemoryMs = 1000;

/** Opens them; nothing happens before `adopt`. */
export const openReplicaContainers = (options: ReplicaContainersOptions): ReplicaContainers => {
  const { docker, platform, log, onExit } = options;
  const entries = new Map<string, Entry>();
  const beginning = new Set<string>();
  /** To be killed as soon as they can be. */
  const doomed = new Set<string>();
  const { remove, untilRemoved } = openRemovals(docker, log);
  const timers = new Set<NodeJS.Timeout>();
  let stopFollowing: () => void = () => {};

  const list = (): Promise<readonly ContainerInfo[]> => listReplicaContainers(docker, platform);
  const enter = (replica: RunningContainer, found = { stopping: false, frozen: false }): void => {
    const { id, containerId } = replica;
    const container = docker.getContainer(containerId);
    const wishes = createWishes({ docker, id, containerId, isMarked: found.stopping, log });
    const pause = createPause({ id, container, isFrozen: found.frozen, log });
    entries.set(id, { replica, wishes, pause, lostReason: undefined, outOfMemoryMs: undefined, isEnding: false });
  };

  // Told before the container is removed: callers fail on this word, and a removal takes a while.
  const finish = (entry: Entry, end: Omit<ReplicaExit, "id">): void => {
    const { id, containerId, holder } = entry.replica;
    if (entries.get(id) !== entry) return;
    entries.delete(id);
    void remove(containerId).then(() => (holder === undefined ? undefined : remove(holder)));
    onExit({ id, ...end });
  };

  const end = async (entry: Entry): Promise<void> => {
    if (entry.isEnding) return;
    entry.isEnding = true;
    const isRecent = (): boolean =>
      entry.outOfMemoryMs === undefined || performance.now() - entry.outOfMemoryMs < outOfMemoryMs;
    try {
      const found = await readEnd(docker.getContainer(entry.replica.containerId), isRecent);
      const reason = found?.reason ?? entry.lostReason;
      if (!found) finish(entry, { code: null, signal: null, output: "", reason: "its container was removed" });
      else finish(entry, reason === undefined ? found : { ...found, reason });
    } catch (error) {
      // The engine is away: it is looked at again when it answers.
      entry.isEnding = false;
      log.warn("could not learn how a replica ended", { replica: entry.replica.id, error: describeError(error) });
    }
  };

  const compare = (entry: Entry, info: ContainerInfo | undefined): void => {
    if (entries.get(entry.replica.id) !== entry) return;
    if (info === undefined || hasEnded(info.State)) return void end(entry);
    entry.wishes.repeat();
    if (info.State === "paused") entry.pause.undo();
    if (hasLostNetwork(info)) giveUp(entry, "it was disconnected from its network");
  };
  const isLeft = ({ Labels }: ContainerInfo): boolean => {
    const id = Labels[replicaLabel] ?? "";
    return !entries.has(id) && !beginning.has(id);
  };
  const look = async (): Promise<void> => {
    const before = [...entries.values()].filter(({ replica }) => !beginning.has(replica.id));
    const listed = await list();
    const found = new Map(listed.map((info) => [info.Id, info]));
    for (const entry of before) compare(entry, found.get(entry.replica.containerId));
    for (const { Id } of listed.filter(isLeft)) void remove(Id);
    const holders = await listHolders(docker, platform);
    for (const info of holders) if (hasEnded(info.State) || hasLostNetwork(info)) loseNetwork(info.Id);
    const there = new Set(holders.map(({ Id }) => Id));
    for (const { replica } of before)
      if (replica.holder !== undefined && !there.has(replica.holder)) loseNetwork(replica.holder);
  };

  const noteOutOfMemory = (entry: Entry): void => {
    const isFirst = entry.outOfMemoryMs === undefined || performance.now() - entry.outOfMemoryMs > outOfMemoryMs;
    entry.outOfMemoryMs = performance.now();
    if (!isFirst) return;
    const timer = setTimeout(() => {
      timers.delete(timer);
      if (entries.get(entry.replica.id) === entry && !entry.isEnding) options.onOutOfMemory(entry.replica);
    }, outOfMemoryMs);
    timers.add(timer);
  };
  // What hears nobody is of no use to anybody.
  const giveUp = (entry: Entry, reason: string): void => {
    entry.lostReason = reason;
    entry.wishes.kill();
  };
  // With its holder goes the network.
  const loseNetwork = (holder: string): void => {
    options.onHolderEnd(holder);
    for (const entry of entries.values()) if (entry.replica.holder === holder) giveUp(entry, "its network was lost");
  };
  // A container that ends is disconnected as well.
  const checkNetwork = async (containerId: string): Promise<void> => {
    const users = [...entries.values()].filter(({ isEnding }) => !isEnding);
    const entry = users.find(({ replica }) => replica.containerId === containerId);
    const isHolder = options.isReadyHolder(containerId) || users.some(({ replica }) => replica.holder === containerId);
    if ((!entry && !isHolder) || !(await lacksNetwork(docker, containerId))) return;
    if (entry) giveUp(entry, "it was disconnected from its network");
    else loseNetwork(containerId);
  };
  const onEvent = ({ action, containerId, attributes }: ContainerEvent): void => {
    if (action === "disconnect")
      return void checkNetwork(containerId).catch((error: unknown) =>
        log.warn("could not look at a container's network", { container: containerId, error: describeError(error) }),
      );
    if (attributes[holderLabel] !== undefined)
      return action === "die" || action === "destroy" ? loseNetwork(containerId) : undefined;
    const entry = entries.get(attributes[replicaLabel] ?? "");
    if (!entry || entry.replica.containerId !== containerId) return;
    if (action === "oom") noteOutOfMemory(entry);
    else if (action === "pause") entry.pause.undo();
    else void end(entry);
  };

  return {
    begin: (id) => void beginning.add(id),
    settle: (id) => {
      beginning.delete(id);
      if (doomed.delete(id)) entries.get(id)?.wishes.kill();
    },
    enter,
    leave: (id) => void entries.delete(id),
    all: () => [...entries.values()].map(({ replica }) => replica),
    stop: (id) => entries.get(id)?.wishes.stop(),
    kill: (id) => (beginning.has(id) ? void doomed.add(id) : entries.get(id)?.wishes.kill()),
    freeze: async (id) => entries.get(id)?.pause.freeze(),
    thaw: async (id) => entries.get(id)?.pause.thaw(),
    remove,
    untilRemoved,
    adopt: async () => {
      const found: FoundContainer[] = [];
      const left: Promise<void>[] = [];
      for (const info of await list()) {
        const running = findRunning(info);
        if (!running) left.push(remove(info.Id));
        else {
          enter({ ...running.replica, containerId: info.Id, holder: running.holder }, running.replica);
          found.push(running);
        }
      }
      await Promise.all(left);
      stopFollowing = followEngine({ docker, platform, onEvent, look, log });
      return found;
    },
    close: async () => {
      stopFollowing();
      for (const timer of timers) clearTimeout(timer);
      await untilRemoved();
    },
  };
};
