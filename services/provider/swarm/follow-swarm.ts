import type Docker from "dockerode";
import { describeError, type Log } from "../../runtime/log.ts";
import { platformLabel } from "../container/platform-id.ts";
import type { FunctionServices, ServiceFacts } from "./function-services.ts";
import { readTask, type SwarmNodeFacts, type SwarmTask, type TaskView } from "./task-view.ts";

/** All that a swarm tells of one platform's functions at one moment. */
export interface SwarmSnapshot {
  readonly services: readonly ServiceFacts[];
  readonly tasks: readonly TaskView[];
  /** Of the machines that take tasks. */
  readonly cores: number;
}

/** What follows a swarm: engines tell of no task's end by themselves, so that it is looked at again and again. */
export interface SwarmWatch {
  /** Looks now; resolves when it has been told. Rejects with the engine's error. */
  readonly look: () => Promise<SwarmSnapshot>;
  /** Looks from now on, and often for a while. */
  readonly start: () => void;
  /** Something was changed: it is looked at often for a while. */
  readonly hurry: () => void;
  readonly close: () => void;
}

/** What it is made of. */
export interface SwarmWatchParts {
  readonly docker: Docker;
  readonly platform: string;
  readonly services: Pick<FunctionServices, "list">;
  readonly onSnapshot: (snapshot: SwarmSnapshot) => void;
  readonly log: Log;
}

// While a container starts, is awaited, or is changed; and when nothing happens.
const hurriedMs = 250;
const calmMs = 1000;
// After a change, until its tasks show.
const hurryForMs = 3000;

/** What else the engine tells of a node. */
type SwarmNode = SwarmNodeFacts & {
  readonly Spec: { readonly Availability: string };
  readonly Description: { readonly Resources: { readonly NanoCPUs: number } };
};

const countCores = (nodes: readonly SwarmNode[]): number =>
  nodes
    .filter(({ Spec, Status }) => Spec.Availability === "active" && Status.State === "ready")
    .reduce((sum, { Description }) => sum + Description.Resources.NanoCPUs / 1e9, 0);

/** Reads the whole of it in one go. */
const readSwarm = async ({ docker, platform, services }: SwarmWatchParts): Promise<SwarmSnapshot> => {
  const [list, tasks, nodes] = await Promise.all([
    services.list(),
    docker.listTasks({ filters: { label: [`${platformLabel}=${platform}`] } }) as Promise<readonly SwarmTask[]>,
    docker.listNodes() as unknown as Promise<readonly SwarmNode[]>,
  ]);
  const byId = new Map(nodes.map((node) => [node.ID, node]));
  return { services: list, tasks: tasks.flatMap((task) => readTask(task, byId) ?? []), cores: countCores(nodes) };
};

const isUnsettled = ({ services, tasks }: SwarmSnapshot): boolean =>
  tasks.some(({ exit, isStarting, unplaced }) => !exit && isStarting && unplaced === undefined) ||
  services.some(({ UpdateStatus }) => UpdateStatus?.State === "updating" || UpdateStatus?.State === "rollback_started");

/** Makes a watch; nothing is looked at until it is told to. */
export const watchSwarm = (parts: SwarmWatchParts): SwarmWatch => {
  let timer: NodeJS.Timeout | undefined;
  let isOpen = false;
  let isUneasy = true;
  let hurryUntilMs = 0;
  let isAway = false;
  // One at a time, so that what is told of is never older than what was told before.
  let last: Promise<unknown> = Promise.resolve();

  const look = (): Promise<SwarmSnapshot> => {
    const work = last.then(async () => {
      const snapshot = await readSwarm(parts);
      isUneasy = isUnsettled(snapshot);
      parts.onSnapshot(snapshot);
      return snapshot;
    });
    last = work.catch(() => undefined);
    return work;
  };
  const lookAgain = async (): Promise<void> => {
    try {
      await look();
      if (isAway) parts.log.info("the swarm answers again");
      isAway = false;
    } catch (error) {
      if (!isAway) parts.log.warn("the swarm does not answer; it is asked again", { error: describeError(error) });
      isAway = true;
    }
    plan();
  };
  const plan = (): void => {
    clearTimeout(timer);
    if (!isOpen) return;
    const isHurried = isUneasy || Date.now() < hurryUntilMs;
    timer = setTimeout(() => void lookAgain(), isHurried ? hurriedMs : calmMs);
  };
  return {
    look,
    start: () => {
      isOpen = true;
      plan();
    },
    hurry: () => {
      hurryUntilMs = Date.now() + hurryForMs;
      plan();
    },
    close: () => {
      isOpen = false;
      clearTimeout(timer);
    },
  };
};
