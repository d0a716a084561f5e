import { randomBytes } from "node:crypto";
import { type FunctionRecord, functionTimeoutMs } from "../../schemas/function.ts";
import { formatFunctionName, type FunctionName, parseFunctionName } from "../../schemas/names.ts";
import type { Bus } from "../bus/connection.ts";
import type { Change, Entry } from "../bus/kv.ts";
import { describeError, type Log } from "../runtime/log.ts";
import { afterCrash } from "./back-off.ts";
import type { Backend, FoundReplica, ReplicaExit } from "./backend.ts";
import { FunctionState, type ReplicaView } from "./function-state.ts";
import { planReplicas } from "./plan-replicas.ts";
import { announceFor, describeExit, hearLastWords } from "./replica-ends.ts";
import type { StatusWriter } from "./status-writer.ts";

/** What brings replicas to what is wished, function by function. */
export interface Reconciler {
  /** Takes the wish for one function; one that is older than what is known is passed over. */
  readonly take: (change: Change<FunctionRecord>) => void;
  /** Takes an entry just written, or the removal of one, without waiting for the bucket to tell. */
  readonly takeEntry: (entry: Entry<FunctionRecord>) => void;
  readonly takeRemoval: (entry: Entry<FunctionRecord>) => void;
  readonly find: (key: string) => FunctionState | undefined;
  readonly all: () => readonly FunctionState[];
  /** Enters replicas of an earlier provider. */
  readonly adopt: (replicas: readonly FoundReplica[]) => void;
  /** Plans from now on: to be called when the wish is known, or replicas of an earlier provider would look unwished. */
  readonly start: () => void;
  /** Plans every function again. */
  readonly reconcileAll: () => void;
  /** Plans one function again after its replicas have changed. */
  readonly reconcile: (state: FunctionState) => void;
  /** Drains every replica; what is left after `graceMs` is killed. Resolves when none is left. */
  readonly stop: (graceMs: number) => Promise<void>;
  /** Stops planning; replicas go on. */
  readonly freeze: () => void;
}

/** What a reconciler works with. */
export interface ReconcilerParts {
  readonly bus: Bus;
  readonly backend: Backend;
  readonly status: StatusWriter;
  readonly log: Log;
  /** Called after each change of a function: its replicas, its record. */
  readonly onChange: (state: FunctionState) => void;
}

// What a watchdog needs beyond its function's timeout: two seconds for the function's processes, and itself.
const stopExtraMs = 5000;

const newReplicaId = (name: string): string => `${name}-${randomBytes(6).toString("hex")}`;

/** Makes a reconciler; nothing happens until it is given something. */
export const createReconciler = ({ bus, backend, status, log, onChange }: ReconcilerParts): Reconciler => {
  const states = new Map<string, FunctionState>();
  const owners = new Map<string, FunctionState>();
  let running = false;
  let onEmpty: (() => void) | undefined;

  const open = (name: FunctionName): FunctionState => {
    const key = formatFunctionName(name);
    const state = states.get(key) ?? new FunctionState(name);
    states.set(key, state);
    return state;
  };

  const enter = (state: FunctionState, found: Omit<FoundReplica, keyof FunctionName>, name: FunctionName): ReplicaView => {
    const { id, revision, startedMs, timeoutMs, stopping } = found;
    const replica: ReplicaView = {
      ...name, id, revision, startedMs, timeoutMs, stopping,
      state: "starting", sinceMs: startedMs, readyMs: undefined, lastWords: undefined, killTimer: undefined,
    };
    state.add(replica);
    owners.set(id, state);
    return replica;
  };

  const startReplica = (state: FunctionState, record: FunctionRecord): void => {
    const { spec, revision } = record;
    const found = { id: newReplicaId(spec.name), revision, startedMs: Date.now(), timeoutMs: functionTimeoutMs(spec), stopping: false };
    const replica = enter(state, found, state.name);
    backend.start({ id: replica.id, spec, revision }).then(
      // It may have been told to stop before there was anything to stop.
      () => replica.stopping && backend.stop(replica.id),
      (error: unknown) => onExit({ id: replica.id, code: 1, signal: null, output: describeError(error) }),
    );
    announceFor(bus, replica, "starting", { spec });
  };

  const drainReplica = (replica: ReplicaView): void => {
    replica.stopping = true;
    backend.stop(replica.id);
    replica.killTimer ??= setTimeout(() => backend.kill(replica.id), Math.min(replica.timeoutMs + stopExtraMs, 2 ** 31 - 1));
  };

  const planAgain = (state: FunctionState, times: readonly (number | undefined)[]): void => {
    clearTimeout(state.timer);
    const next = Math.min(...times.filter((time) => time !== undefined));
    if (Number.isFinite(next)) state.timer = setTimeout(() => reconcile(state), Math.max(0, next - Date.now()));
  };

  const reconcile = (state: FunctionState): void => {
    if (!running) return;
    const nowMs = Date.now();
    const stableAtMs = state.forgetFailures(nowMs);
    const { record, replicas, backOff } = state;
    const plan = planReplicas({ record, replicas, backOff, nowMs });
    if (record) for (let left = plan.start; left > 0; left -= 1) startReplica(state, record);
    for (const id of plan.drain) {
      const replica = state.find(id);
      if (replica) drainReplica(replica);
    }
    planAgain(state, [plan.againAtMs, stableAtMs]);
    report(state);
  };

  const report = (state: FunctionState): void => {
    status.write(state.key, state.isOver ? undefined : state.toStatus());
    onChange(state);
    if (state.isOver && state.isRemoved) states.delete(state.key);
  };

  const noteCrash = (state: FunctionState, replica: ReplicaView, exit: ReplicaExit, message: string): void => {
    const nowMs = Date.now();
    const readyForMs = replica.readyMs === undefined ? 0 : nowMs - replica.readyMs;
    const crash = { revision: replica.revision, signal: exit.signal, readyForMs, nowMs };
    state.backOff = afterCrash(state.backOff, crash);
    state.problem = exit.signal === "SIGXCPU" ? state.problem : { message, atMs: nowMs };
    log.warn("a replica ended", { function: state.key, replica: replica.id, reason: message });
  };

  const onExit = async (exit: ReplicaExit): Promise<void> => {
    const state = owners.get(exit.id);
    const replica = state?.find(exit.id);
    if (!state || !replica) return;
    clearTimeout(replica.killTimer);
    state.enter(replica, "exited", Date.now());
    // One that was killed said nothing, and its callers wait for this.
    if (exit.signal === null && !replica.lastWords) await hearLastWords(bus);
    const isClean = exit.code === 0 && exit.signal === null;
    const isWished = replica.stopping || isClean;
    const message = replica.lastWords?.reason ?? describeExit(exit);
    if (!replica.lastWords) announceFor(bus, replica, "exited", { spec: state.record?.spec, ...(isClean ? {} : { reason: message }) });
    if (!isWished) noteCrash(state, replica, exit, message);
    owners.delete(exit.id);
    state.strike(replica, message);
    if (running) reconcile(state);
    else report(state);
    if (owners.size === 0) onEmpty?.();
  };
  backend.onExit((exit) => void onExit(exit));

  const take = (name: FunctionName, record: FunctionRecord | undefined, revision: number): void => {
    const state = open(name);
    if (revision <= state.entryRevision) return;
    state.entryRevision = revision;
    state.record = record;
    state.isRemoved = record === undefined;
    reconcile(state);
  };

  const takeRemoval = ({ value, revision }: Entry<FunctionRecord>): void => {
    const state = open(value.spec);
    if (revision < state.entryRevision) return;
    state.record = undefined;
    reconcile(state);
  };

  const drainAll = (graceMs: number): Promise<void> =>
    new Promise((resolve) => {
      const kill = setTimeout(() => [...owners.keys()].forEach(backend.kill), graceMs);
      onEmpty = () => {
        clearTimeout(kill);
        resolve();
      };
      for (const state of states.values()) for (const replica of state.replicas) drainReplica(replica);
      if (owners.size === 0) onEmpty();
    });

  const freeze = (): void => {
    running = false;
    for (const state of states.values()) {
      clearTimeout(state.timer);
      for (const replica of state.replicas) clearTimeout(replica.killTimer);
    }
  };

  return {
    take: (change) =>
      change.kind === "put"
        ? take(change.entry.value.spec, change.entry.value, change.entry.revision)
        : take(parseFunctionName(change.key), undefined, change.revision),
    takeEntry: (entry) => take(entry.value.spec, entry.value, entry.revision),
    takeRemoval,
    find: (key) => states.get(key),
    all: () => [...states.values()],
    adopt: (replicas) => {
      for (const found of replicas) {
        const { namespace, name } = found;
        const replica = enter(open(found), found, { namespace, name });
        if (found.stopping) drainReplica(replica);
      }
    },
    start: () => {
      running = true;
      states.forEach(reconcile);
    },
    reconcileAll: () => states.forEach(reconcile),
    reconcile,
    stop: async (graceMs) => {
      freeze();
      await drainAll(graceMs);
      await status.settled();
    },
    freeze,
  };
};
