import type Docker from "dockerode";
import type { ContainerInfo } from "dockerode";
import type { FunctionName } from "../../../schemas/names.ts";
import { describeError, type Log } from "../../runtime/log.ts";
import type { FoundReplica, ReplicaExit } from "../backend.ts";
import { readLabels, replicaLabel } from "../container/labels.ts";
import { platformLabel } from "../container/platform-id.ts";
import { readSecretsLabel } from "../container/replica-secrets.ts";
import { readEnd } from "./container-end.ts";
import { type ContainerEvent, followEngine } from "./engine-events.ts";
import { unlessGone } from "./unless-gone.ts";

/** A replica whose container is there, or about to be started. */
export interface RunningContainer extends FunctionName {
  readonly id: string;
  readonly containerId: string;
  /** As the function's spec has it; undefined when there is none, or nobody remembers. */
  readonly memoryLimit?: string | undefined;
  /** The bundle it runs; undefined for an image's function. */
  readonly digest?: string | undefined;
}

/** A replica of an earlier provider. */
export interface FoundContainer {
  readonly replica: FoundReplica;
  /** What its credentials are for. */
  readonly key: string;
  /** Names of its secrets. */
  readonly secrets: readonly string[];
  /** Id of the image that it runs from. */
  readonly imageId: string;
}

/** The containers of a platform's replicas in one engine. */
export interface ReplicaContainers {
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
  /** Removes a container at once, whatever it is at; what cannot be removed now is when the engine answers again. */
  readonly remove: (containerId: string) => Promise<void>;
  /** Resolves when nothing is being removed. */
  readonly untilRemoved: () => Promise<void>;
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
}

/** What was asked of a container. Each is asked again when the engine comes back and had not heard it. */
interface Wishes {
  stop: "no" | "wished" | "done";
  kill: "no" | "wished" | "done";
}

interface Entry {
  readonly replica: RunningContainer;
  readonly wishes: Wishes;
  outOfMemoryMs: number | undefined;
  isEnding: boolean;
}

const stoppingEnding = ".stopping";
const endedStates: readonly string[] = ["exited", "dead", "removing"];
const runningStates: readonly string[] = ["running", "paused", "restarting"];
// A replica whose function was killed ends within this; one that goes on had lost a single call's process.
const outOfMemoryMs = 1000;

const foundOf = (info: ContainerInfo): FoundContainer | undefined => {
  const labelled = readLabels(info.Labels);
  if (!labelled) return undefined;
  const { key, ...named } = labelled;
  const startedMs = info.Created * 1000;
  const stopping = info.Names.some((name) => name.endsWith(stoppingEnding));
  const replica = { ...named, startedMs, stopping, frozen: info.State === "paused" };
  return { key, replica, secrets: readSecretsLabel(info.Labels), imageId: info.ImageID };
};

/** Opens them; nothing happens before `adopt`. */
export const openReplicaContainers = (options: ReplicaContainersOptions): ReplicaContainers => {
  const { docker, platform, log, onExit } = options;
  const entries = new Map<string, Entry>();
  const beginning = new Set<string>();
  /** To be killed as soon as they can be. */
  const doomed = new Set<string>();
  const removals = new Set<Promise<void>>();
  const timers = new Set<NodeJS.Timeout>();
  let stopFollowing: () => void = () => {};

  const list = (): Promise<readonly ContainerInfo[]> =>
    docker.listContainers({ all: true, filters: { label: [`${platformLabel}=${platform}`, replicaLabel] } });

  const remove = (containerId: string): Promise<void> => {
    const removal = unlessGone(docker.getContainer(containerId).remove({ force: true, v: true }))
      .then(() => {})
      .catch((error: unknown) =>
        log.warn("could not remove a container", { container: containerId, error: describeError(error) }),
      )
      .finally(() => removals.delete(removal));
    removals.add(removal);
    return removal;
  };

  const enter = (replica: RunningContainer, stopping = false): void => {
    const wishes: Wishes = { stop: stopping ? "done" : "no", kill: "no" };
    entries.set(replica.id, { replica, wishes, outOfMemoryMs: undefined, isEnding: false });
  };

  // Told before the container is removed: callers fail on this word, and a removal takes a while.
  const finish = (entry: Entry, end: Omit<ReplicaExit, "id">): void => {
    const { id, containerId } = entry.replica;
    if (entries.get(id) !== entry) return;
    entries.delete(id);
    void remove(containerId);
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

  const carryOut = (entry: Entry, wish: keyof Wishes, act: () => Promise<unknown>): void => {
    entry.wishes[wish] = "done";
    act().catch((error: unknown) => {
      entry.wishes[wish] = "wished";
      log.warn(`could not ${wish} a replica`, { replica: entry.replica.id, error: describeError(error) });
    });
  };
  const stopNow = (entry: Entry): void => {
    const { id, containerId } = entry.replica;
    const container = docker.getContainer(containerId);
    carryOut(entry, "stop", () =>
      Promise.all([
        unlessGone(container.kill({ signal: "SIGTERM" })),
        // By its name another provider knows that it was told.
        unlessGone(container.rename({ name: `${id}${stoppingEnding}` })),
      ]),
    );
  };
  const killNow = (entry: Entry): void =>
    carryOut(entry, "kill", () => unlessGone(docker.getContainer(entry.replica.containerId).kill()));

  const compare = (entry: Entry, state: string | undefined): void => {
    if (entries.get(entry.replica.id) !== entry) return;
    if (state === undefined || endedStates.includes(state)) return void end(entry);
    if (entry.wishes.stop === "wished") stopNow(entry);
    if (entry.wishes.kill === "wished") killNow(entry);
  };
  const isLeft = ({ Labels }: ContainerInfo): boolean => {
    const id = Labels[replicaLabel] ?? "";
    return !entries.has(id) && !beginning.has(id);
  };
  const look = async (): Promise<void> => {
    const before = [...entries.values()].filter(({ replica }) => !beginning.has(replica.id));
    const listed = await list();
    const states = new Map(listed.map(({ Id, State }) => [Id, State]));
    for (const entry of before) compare(entry, states.get(entry.replica.containerId));
    for (const { Id } of listed.filter(isLeft)) void remove(Id);
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
  const onEvent = ({ action, containerId, attributes }: ContainerEvent): void => {
    const entry = entries.get(attributes[replicaLabel] ?? "");
    if (!entry || entry.replica.containerId !== containerId) return;
    if (action === "oom") noteOutOfMemory(entry);
    else void end(entry);
  };

  const untilRemoved = async (): Promise<void> => {
    while (removals.size > 0) await Promise.all(removals);
  };
  const wish = (id: string, act: (entry: Entry) => void): void => {
    const entry = entries.get(id);
    if (entry) act(entry);
  };
  return {
    begin: (id) => void beginning.add(id),
    settle: (id) => {
      beginning.delete(id);
      if (doomed.delete(id)) wish(id, killNow);
    },
    enter,
    leave: (id) => void entries.delete(id),
    find: (id) => entries.get(id)?.replica,
    all: () => [...entries.values()].map(({ replica }) => replica),
    stop: (id) => wish(id, stopNow),
    kill: (id) => (beginning.has(id) ? void doomed.add(id) : wish(id, killNow)),
    remove,
    untilRemoved,
    adopt: async () => {
      const found: FoundContainer[] = [];
      const left: Promise<void>[] = [];
      for (const info of await list()) {
        const running = runningStates.includes(info.State) ? foundOf(info) : undefined;
        if (!running) left.push(remove(info.Id));
        else {
          enter({ ...running.replica, containerId: info.Id }, running.replica.stopping);
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
