import { freezesAtZero, zeroAnnotation } from "../../schemas/annotations.ts";
import type { FunctionRecord, FunctionSpec } from "../../schemas/function.ts";
import { formatFunctionName, type FunctionName, parseFunctionName } from "../../schemas/names.ts";
import { unknownScaleLabels } from "../../schemas/scale-labels.ts";
import type { Bus } from "../bus/connection.ts";
import type { Change, Entry } from "../bus/kv.ts";
import type { Log } from "../runtime/log.ts";
import type { Backend, ServiceBackend } from "./backend.ts";
import { FunctionState } from "./function-state.ts";
import { createFleet, type Fleet } from "./fleet.ts";
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
  /** Takes over the replicas of an earlier provider. */
  readonly adopt: () => Promise<void>;
  /** Plans from now on: to be called when the wish is known, or replicas of an earlier provider would look unwished. */
  readonly start: () => void;
  /** Takes what a replica has said of itself, and has been noted. */
  readonly hear: Fleet["hear"];
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
  readonly backend: Backend | ServiceBackend;
  readonly status: StatusWriter;
  readonly log: Log;
  /** Called after each change of a function: its replicas, its record. */
  readonly onChange: (state: FunctionState) => void;
}

/** Makes a reconciler; nothing happens until it is started. */
export const createReconciler = ({ bus, backend, status, log, onChange }: ReconcilerParts): Reconciler => {
  const states = new Map<string, FunctionState>();
  const canFreeze = "freeze" in backend && backend.freeze !== undefined;
  let running = false;

  const open = ({ namespace, name }: FunctionName): FunctionState => {
    const key = formatFunctionName({ namespace, name });
    const state = states.get(key) ?? new FunctionState({ namespace, name });
    states.set(key, state);
    return state;
  };

  const warningsFor = (spec: FunctionSpec): readonly string[] => [
    ...backend.listUnenforced(spec),
    ...unknownScaleLabels(spec.labels ?? {}),
    ...(canFreeze || !freezesAtZero(spec) ? [] : [`${zeroAnnotation}: freeze is not done here; replicas are stopped`]),
  ];

  const report = (state: FunctionState): void => {
    const warnings = state.record && warningsFor(state.record.spec);
    status.write(state.key, state.isOver ? undefined : state.toStatus(warnings, backend.cores()));
    onChange(state);
    if (state.isOver && state.isRemoved) states.delete(state.key);
  };

  const onEnded = (state: FunctionState): void => (running ? reconcile(state) : report(state));
  const replicas = createFleet({ bus, backend, log, open, onEnded });

  const planAgain = (state: FunctionState, times: readonly (number | undefined)[]): void => {
    clearTimeout(state.timer);
    const next = Math.min(...times.filter((time) => time !== undefined));
    if (Number.isFinite(next)) state.timer = setTimeout(() => reconcile(state), Math.max(0, next - Date.now()));
  };

  const reconcile = (state: FunctionState): void => {
    if (!running) return;
    const nowMs = Date.now();
    const stableAtMs = state.forgetFailures(nowMs);
    const { againAtMs, afterReport } = replicas.bring(state, nowMs);
    planAgain(state, [againAtMs, stableAtMs, state.noteSlowStart(nowMs)]);
    report(state);
    afterReport?.();
  };

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

  const freeze = (): void => {
    running = false;
    for (const state of states.values()) clearTimeout(state.timer);
    replicas.clearTimers();
  };

  return {
    takeRemoval,
    reconcile,
    freeze,
    hear: replicas.hear,
    take: (change) =>
      change.kind === "put"
        ? take(change.entry.value.spec, change.entry.value, change.entry.revision)
        : take(parseFunctionName(change.key), undefined, change.revision),
    takeEntry: (entry) => take(entry.value.spec, entry.value, entry.revision),
    find: (key) => states.get(key),
    all: () => [...states.values()],
    adopt: replicas.adopt,
    start: () => {
      running = true;
      for (const state of states.values()) state.isRemoved = state.record === undefined;
      states.forEach(reconcile);
    },
    reconcileAll: () => states.forEach(reconcile),
    stop: async (graceMs) => {
      freeze();
      await replicas.drainAll(graceMs);
      await status.settled();
    },
  };
};
