import { parseFunctionName } from "../../../schemas/names.ts";
import type { ServiceNews } from "../backend.ts";
import { functionLabel, revisionLabel } from "../container/labels.ts";
import { mountPoint } from "../container/watchdog-folder.ts";
import type { SwarmSnapshot } from "./follow-swarm.ts";
import { replicasOf, type ServiceFacts } from "./function-services.ts";
import type { TaskView } from "./task-view.ts";

/** Turns what a swarm is found in into what has happened. */
export interface TaskTeller {
  readonly tell: (snapshot: SwarmSnapshot) => void;
  /** What has ended already when it is first looked at is nobody's news. */
  readonly takeHistory: (snapshot: SwarmSnapshot) => void;
  readonly find: (replica: string) => TaskView | undefined;
  readonly all: () => readonly TaskView[];
}

/** A node whose volume is not filled yet: it joined a moment ago, and the engine tries again by itself. */
const isTooEarly = ({ exit }: TaskView): boolean => exit?.reason?.includes(`${mountPoint}/loader`) ?? false;

const rollbackStates: readonly string[] = ["rollback_started", "rollback_paused", "rollback_completed", "paused"];

const readService = (service: ServiceFacts): Extract<ServiceNews, { kind: "service" }> | undefined => {
  const labels = service.Spec.Labels ?? {};
  const key = labels[functionLabel];
  if (key === undefined) return undefined;
  const { State = "", Message = "" } = service.UpdateStatus ?? {};
  return {
    kind: "service",
    function: parseFunctionName(key),
    revision: labels[revisionLabel] ?? "",
    replicas: replicasOf(service) ?? 0,
    undone: rollbackStates.includes(State) ? Message : undefined,
  };
};

/** Makes one; `onNews` hears everything in its order. */
export const createTaskTeller = (onNews: (news: ServiceNews) => void): TaskTeller => {
  const running = new Map<string, TaskView>();
  const over = new Set<string>();

  const end = (task: TaskView, exit: NonNullable<TaskView["exit"]>): void => {
    const wasStopping = running.get(task.id)?.stopping ?? false;
    running.delete(task.id);
    onNews({ kind: "exit", exit, stopping: wasStopping || task.stopping || isTooEarly(task) });
  };
  const take = (task: TaskView): void => {
    const known = running.get(task.id);
    if (task.exit) {
      over.add(task.task);
      // One that came and went between two looks is told of as well: its end may say why nothing works.
      if (!known && task.stopping) return;
      if (!known) onNews({ kind: "replica", replica: task });
      return end(task, task.exit);
    }
    // Nothing of it is anywhere yet: the service waits, not a replica.
    if (task.unplaced !== undefined || task.node === undefined) return;
    running.set(task.id, task);
    if (known?.stopping !== task.stopping || known.node !== task.node) onNews({ kind: "replica", replica: task });
  };
  const strikeVanished = (tasks: readonly TaskView[]): void => {
    const present = new Set(tasks.map(({ id }) => id));
    for (const task of running.values())
      if (!present.has(task.id))
        end({ ...task, stopping: true }, { id: task.id, code: null, signal: null, output: "" });
    const listed = new Set(tasks.map(({ task }) => task));
    for (const task of over) if (!listed.has(task)) over.delete(task);
  };
  const tellServices = ({ services, tasks }: SwarmSnapshot): void => {
    const waiting = tasks.filter(({ exit, stopping }) => !exit && !stopping);
    for (const service of services) {
      const news = readService(service);
      if (!news) continue;
      const { namespace, name } = news.function;
      const unplaced = waiting.find(
        (task) => task.name === name && task.namespace === namespace && task.unplaced !== undefined,
      );
      onNews({
        ...news,
        ...(unplaced?.unplaced === undefined
          ? {}
          : { unplaced: unplaced.unplaced, unplacedRevision: unplaced.revision }),
      });
    }
    onNews({ kind: "looked" });
  };
  return {
    tell: (snapshot) => {
      for (const task of snapshot.tasks) if (!over.has(task.task)) take(task);
      strikeVanished(snapshot.tasks);
      tellServices(snapshot);
    },
    takeHistory: ({ tasks }) => {
      for (const { exit, task } of tasks) if (exit) over.add(task);
    },
    find: (replica) => running.get(replica),
    all: () => [...running.values()],
  };
};
