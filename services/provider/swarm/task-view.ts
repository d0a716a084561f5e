import { constants } from "node:os";
import { functionTimeoutMs } from "../../../schemas/function.ts";
import { type FunctionName, parseFunctionName } from "../../../schemas/names.ts";
import { readSecretsLabel } from "../container/replica-secrets.ts";
import type { ReplicaExit } from "../backend.ts";
import { isLimitRefusal } from "../container/engine-error.ts";
import { functionLabel, memoryLabel, revisionLabel, timeoutLabel } from "../container/labels.ts";

/** What an engine tells of a task: the part that matters to us. */
export interface SwarmTask {
  readonly ID: string;
  readonly ServiceID?: string;
  readonly NodeID?: string;
  /** `running`; `ready` while a restart is being delayed; `shutdown` or `remove` when it is to end. */
  readonly DesiredState: string;
  readonly CreatedAt: string;
  readonly Status: {
    readonly State: string;
    readonly Err?: string;
    readonly ContainerStatus?: { readonly ExitCode?: number; readonly ContainerID?: string };
  };
  readonly Spec: { readonly ContainerSpec?: { readonly Labels?: Readonly<Record<string, string>> | null } };
}

/** What an engine tells of a node. */
export interface SwarmNodeFacts {
  readonly ID: string;
  readonly Description: { readonly Hostname: string; readonly Platform?: { readonly Architecture?: string } };
  readonly Status: { readonly State: string; readonly Message?: string };
}

/** A task of a function's service. */
export interface TaskView extends FunctionName {
  /** The replica's id. */
  readonly id: string;
  readonly task: string;
  readonly revision: string;
  readonly timeoutMs: number;
  readonly startedMs: number;
  /** Names of the secrets it has. */
  readonly secrets: readonly string[];
  /** Name of its node; undefined while it has none. */
  readonly node: string | undefined;
  /** It was told to stop. */
  readonly stopping: boolean;
  /** Its container does not run yet. */
  readonly isStarting: boolean;
  /** Why no node takes it, while none does. */
  readonly unplaced: string | undefined;
  /** How it ended; undefined while it has not. */
  readonly exit: ReplicaExit | undefined;
}

/** The id of the replica that a task is. */
export const replicaOf = (name: string, task: string): string => `${name}-${task}`;

const overStates: readonly string[] = ["complete", "shutdown", "failed", "rejected", "remove", "orphaned"];
const stoppedStates: readonly string[] = ["shutdown", "remove", "orphaned"];
const startingStates: readonly string[] = [
  "new",
  "allocated",
  "pending",
  "assigned",
  "accepted",
  "preparing",
  "ready",
  "starting",
];

const signalOf = (code: number): NodeJS.Signals | null => {
  const names = Object.entries(constants.signals) as readonly (readonly [NodeJS.Signals, number])[];
  return code > 128 ? (names.find(([, number]) => number === code - 128)?.[0] ?? null) : null;
};

// What the engine says of any end with a code: the code itself says as much.
const saysOnlyCode = /^task: non-zero exit \(\d+\)$/;

const killedReason = (labels: Readonly<Record<string, string>>): string | undefined => {
  const limit = labels[memoryLabel];
  // A manager is not told who it was; the kernel is who does it, to a replica that has outgrown its limit.
  return limit === undefined ? undefined : `killed by SIGKILL, most likely out of memory: the limit is ${limit}`;
};

/** Whether it is, or was, told to stop. One that has ended by itself is set to be shut down afterwards, too. */
const isStopping = ({ Status, DesiredState }: SwarmTask, isOver: boolean): boolean =>
  isOver ? stoppedStates.includes(Status.State) : DesiredState === "shutdown" || DesiredState === "remove";

const readExit = (id: string, task: SwarmTask, labels: Readonly<Record<string, string>>) => {
  const { State, Err = "", ContainerStatus } = task.Status;
  const code = ContainerStatus?.ContainerID === undefined ? null : (ContainerStatus.ExitCode ?? 0);
  const signal = code === null ? null : signalOf(code);
  const told = Err === "" || saysOnlyCode.test(Err) ? undefined : Err;
  const reason = told ?? (State === "failed" && signal === "SIGKILL" ? killedReason(labels) : undefined);
  const exit = { id, code: signal === null ? code : null, signal, output: "" };
  if (reason === undefined) return exit;
  return isLimitRefusal(reason) ? { ...exit, reason, isRefused: true } : { ...exit, reason };
};

/** Why a task counts as ended though it has not said so: its node is not there any more. */
const lostReason = (task: SwarmTask, nodes: ReadonlyMap<string, SwarmNodeFacts>): string | undefined => {
  if (!task.NodeID) return undefined;
  const node = nodes.get(task.NodeID);
  if (!node) return `its node ${task.NodeID} has left the swarm`;
  const { Hostname } = node.Description;
  return node.Status.State === "down" ? `its node ${Hostname} is down: ${node.Status.Message ?? ""}` : undefined;
};

/** Reads a task; undefined when it is not one of a function. */
export const readTask = (task: SwarmTask, nodes: ReadonlyMap<string, SwarmNodeFacts>): TaskView | undefined => {
  const labels = task.Spec.ContainerSpec?.Labels ?? {};
  const key = labels[functionLabel];
  const revision = labels[revisionLabel];
  if (key === undefined || revision === undefined) return undefined;
  const { namespace, name } = parseFunctionName(key);
  const id = replicaOf(name, task.ID);
  const { State, Err } = task.Status;
  const isOver = overStates.includes(State);
  const lost = isOver ? undefined : lostReason(task, nodes);
  const exit = isOver ? readExit(id, task, labels) : undefined;
  return {
    id,
    task: task.ID,
    namespace,
    name,
    revision,
    timeoutMs: Number(labels[timeoutLabel] ?? functionTimeoutMs({})),
    secrets: readSecretsLabel(labels),
    startedMs: Date.parse(task.CreatedAt),
    node: task.NodeID ? nodes.get(task.NodeID)?.Description.Hostname : undefined,
    // What a lost node had was not the function's fault: it is no crash.
    stopping: lost !== undefined || isStopping(task, isOver),
    isStarting: startingStates.includes(State),
    unplaced: State === "pending" && Err ? Err : undefined,
    exit: lost === undefined ? exit : { id, code: null, signal: null, output: "", reason: lost },
  };
};
