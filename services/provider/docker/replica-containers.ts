import type Docker from "dockerode";
import type { ContainerInfo } from "dockerode";
import type { FunctionName } from "../../../schemas/names.ts";
import { describeError, type Log } from "../../runtime/log.ts";
import type { ReplicaExit } from "../backend.ts";
import { replicaLabel } from "../container/labels.ts";
import { readEnd } from "./container-end.ts";
import { type ContainerWishes, createWishes } from "./container-wishes.ts";
import { type ContainerEvent, followEngine } from "./engine-events.ts";
import { findRunning, type FoundContainer, hasEnded, listReplicaContainers } from "./listed-containers.ts";
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
  readonly find: (id: string) => RunningContainer | undefined;
  readonly all: () => readonly RunningContainer[];
  readonly stop: (id: string) => void;
  readonly kill: (id: string) => void;
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
  /** A container that holds a network has ended. */
  readonly onHolderEnd: (holder: string) => void;
  /** Makes the network of nats-server again when it was removed. */
  readonly keepBusNetwork: () => Promise<void>;
}

interface Entry {
  readonly replica: RunningContainer;
  readonly wishes: ContainerWishes;
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
  const enter = (replica: RunningContainer, isMarked = false): void => {
    const wishes = createWishes({ docker, id: replica.id, containerId: replica.containerId, isMarked, log });
    entries.set(replica.id, { replica, wishes, outOfMemoryMs: undefined, isEnding: false });
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
      finish(entry, found ?? { code: null, signal: null, output: "", reason: "its container was removed" });
    } catch (error) {
      // The engine is away: it is looked at again when it answers.
      entry.isEnding = false;
      log.warn("could not learn how a replica ended", { replica: entry.replica.id, error: describeError(error) });
    }
  };

  const compare = (entry: Entry, state: string | undefined): void => {
    if (entries.get(entry.replica.id) !== entry) return;
    if (state === undefined || hasEnded(state)) void end(entry);
    else entry.wishes.repeat();
  };
  const isLeft = ({ Labels }: ContainerInfo): boolean => {
    const id = Labels[replicaLabel] ?? "";
    return !entries.has(id) && !beginning.has(id);
  };
  const look = async (): Promise<void> => {
    await options.keepBusNetwork();
    const before = [...entries.values()].filter(({ replica }) => !beginning.has(replica.id));
    const listed = await list();
    const states = new Map(listed.map(({ Id, State }) => [Id, State]));
    for (const entry of before) compare(entry, states.get(entry.replica.containerId));
    for (const { Id } of listed.filter(isLeft)) void remove(Id);
    const holders = await listHolders(docker, platform);
    for (const { Id } of holders.filter(({ State }) => hasEnded(State))) loseNetwork(Id);
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
  // With its holder goes the network: what is left of the replica hears nobody.
  const loseNetwork = (holder: string): void => {
    options.onHolderEnd(holder);
    for (const { replica, wishes } of entries.values()) if (replica.holder === holder) wishes.kill();
  };
  const onEvent = ({ action, containerId, attributes }: ContainerEvent): void => {
    if (attributes[holderLabel] !== undefined && action !== "oom") return loseNetwork(containerId);
    const entry = entries.get(attributes[replicaLabel] ?? "");
    if (!entry || entry.replica.containerId !== containerId) return;
    if (action === "oom") noteOutOfMemory(entry);
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
    find: (id) => entries.get(id)?.replica,
    all: () => [...entries.values()].map(({ replica }) => replica),
    stop: (id) => entries.get(id)?.wishes.stop(),
    kill: (id) => (beginning.has(id) ? void doomed.add(id) : entries.get(id)?.wishes.kill()),
    remove,
    untilRemoved,
    adopt: async () => {
      const found: FoundContainer[] = [];
      const left: Promise<void>[] = [];
      for (const info of await list()) {
        const running = findRunning(info);
        if (!running) left.push(remove(info.Id));
        else {
          enter({ ...running.replica, containerId: info.Id, holder: running.holder }, running.replica.stopping);
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
