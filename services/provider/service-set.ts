import type { FunctionRecord } from "../../schemas/function.ts";
import { formatFunctionName, type FunctionName } from "../../schemas/names.ts";
import type { Bus } from "../bus/connection.ts";
import { describeError, type Log } from "../runtime/log.ts";
import { afterCrash } from "./back-off.ts";
import type { ReplicaStart, ServiceBackend, ServiceNews, ServiceReplica } from "./backend.ts";
import type { FunctionState } from "./function-state.ts";
import { announceFor } from "./replica-ends.ts";
import { viewOf } from "./replica-set.ts";
import { settleEnd } from "./settle-end.ts";

/** The services of all functions, beside `ReplicaSet`: here the engine starts and ends replicas, and we hear of it. */
export interface ServiceSet {
  /** Begins what brings a function's service to its wish; gives when to try again, milliseconds since the epoch. */
  readonly bring: (state: FunctionState, nowMs: number) => { readonly againAtMs?: number };
  /** Nothing of a service follows from what a replica says: the engine has the count. */
  readonly hear: () => void;
  /** Hears of all services and replicas there are, and follows them from then on. */
  readonly adopt: () => Promise<void>;
  /** Leaves services as they are: they are the cluster's, and go on without a provider. */
  readonly drainAll: () => Promise<void>;
  readonly clearTimers: () => void;
}

/** What a service set works with. */
export interface ServiceSetParts {
  readonly bus: Bus;
  readonly backend: ServiceBackend;
  readonly log: Log;
  readonly open: (name: FunctionName) => FunctionState;
  /** Called when something about a function has changed. */
  readonly onChange: (state: FunctionState) => void;
}

type Told = Extract<ServiceNews, { kind: "service" }>;

/** What is known and done about one function's service. */
interface ServiceSlot {
  readonly state: FunctionState;
  /** How it is set; undefined when there is none. */
  told: Told | undefined;
  /** It was in the newest look. */
  seen: boolean;
  /** Something is being done to it. */
  busy: boolean;
  /** The revision that was applied last by this provider. */
  applied: string | undefined;
  /** The revision that the engine took back. */
  undone: string | undefined;
  /** Replicas that have their launch and are not ready yet. */
  readonly launched: Set<string>;
}

// A held back replica asks again after as long at most: what holds it back may be over sooner.
const longestHoldMs = 2000;
// While another replica of a revision that fails is being tried.
const turnMs = 500;

/** What is to be done to a service. */
type Step = "none" | "apply" | "scale" | "remove";

const stepOf = ({ told, applied, undone }: ServiceSlot, record: FunctionRecord | undefined): Step => {
  if (!record) return told ? "remove" : "none";
  if (!told) return "apply";
  if (undone === record.revision) return told.replicas === record.replicas ? "none" : "scale";
  // The first time in any case: what a service is made from may have changed with the provider.
  if (applied !== record.revision || told.revision !== record.revision) return "apply";
  return told.replicas === record.replicas ? "none" : "scale";
};

/** Makes an empty set on a backend. */
export const createServiceSet = ({ bus, backend, log, open, onChange }: ServiceSetParts): ServiceSet => {
  const slots = new Map<string, ServiceSlot>();
  const owners = new Map<string, ServiceSlot>();

  const slotOf = (state: FunctionState): ServiceSlot => {
    const known = slots.get(state.key);
    if (known?.state === state) return known;
    const slot: ServiceSlot = {
      state,
      told: undefined,
      seen: false,
      busy: false,
      applied: undefined,
      undone: undefined,
      launched: new Set(),
    };
    slots.set(state.key, slot);
    return slot;
  };

  const fail = ({ state }: ServiceSlot, revision: string | undefined, error: unknown): void => {
    const message = describeError(error);
    const nowMs = Date.now();
    log.warn("a service could not be brought to what is wished", { function: state.key, error: message });
    if (revision === undefined) return;
    state.backOff = afterCrash(state.backOff, { revision, signal: null, readyForMs: 0, nowMs });
    state.problem = { message, atMs: nowMs };
    state.refuse(revision, message);
  };

  const carryOut = async (slot: ServiceSlot, step: Step, record: FunctionRecord | undefined): Promise<void> => {
    const { name } = slot.state;
    if (step === "remove") return backend.remove(name);
    if (!record) return;
    if (step === "scale") return backend.scale(name, record.replicas);
    slot.applied = record.revision;
    await backend.apply(record);
    if (slot.state.problem && slot.state.replicas.length === 0) slot.state.problem = undefined;
  };

  const begin = (slot: ServiceSlot, step: Step): void => {
    const { wish: record } = slot.state;
    slot.busy = true;
    carryOut(slot, step, record)
      .catch((error: unknown) => {
        // A count of a service that works says nothing against its revision.
        fail(slot, step === "apply" ? record?.revision : undefined, error);
        if (step === "apply") slot.applied = undefined;
      })
      .finally(() => {
        slot.busy = false;
        onChange(slot.state);
      });
  };

  const bring: ServiceSet["bring"] = (state, nowMs) => {
    const slot = slotOf(state);
    if (slot.busy) return {};
    const { wish: record, backOff } = state;
    const step = stepOf(slot, record);
    if (step === "none") return {};
    const waits = step === "apply" && backOff?.revision === record?.revision && slot.applied === undefined;
    if (waits && backOff !== undefined && backOff.nextTryAtMs > nowMs) return { againAtMs: backOff.nextTryAtMs };
    begin(slot, step);
    return {};
  };

  const enter = (slot: ServiceSlot, replica: ServiceReplica): void => {
    const { state } = slot;
    const known = state.find(replica.id);
    if (known) {
      known.stopping = replica.stopping;
      known.node = replica.node;
      return;
    }
    const view = { ...viewOf({ ...replica, frozen: false }), node: replica.node };
    state.add(view);
    owners.set(replica.id, slot);
    announceFor(bus, view, "starting", { spec: state.record?.spec });
  };

  const end = async ({ exit, stopping }: Extract<ServiceNews, { kind: "exit" }>): Promise<void> => {
    const slot = owners.get(exit.id);
    const replica = slot?.state.find(exit.id);
    if (!slot || !replica) return;
    owners.delete(exit.id);
    slot.launched.delete(exit.id);
    replica.stopping = stopping;
    const message = await settleEnd({ bus, log }, slot.state, replica, exit);
    slot.state.strike(replica, message, exit.isRefused);
    onChange(slot.state);
  };

  const block = ({ state }: ServiceSlot, revision: string, message: string | undefined): void => {
    if (message === state.blocked?.message) return;
    state.blocked = message === undefined ? undefined : { message, atMs: Date.now() };
    if (message !== undefined) state.refuse(revision, message);
  };

  const hearService = (slot: ServiceSlot, told: Told): void => {
    const { record } = slot.state;
    const before = slot.told;
    slot.told = told;
    slot.seen = true;
    const isUndone = told.undone !== undefined && record !== undefined && told.revision !== record.revision;
    if (isUndone && !slot.busy && slot.applied === record.revision) slot.undone = record.revision;
    const revision = record?.revision ?? "";
    if (slot.undone === revision && isUndone) block(slot, revision, `the engine took the update back: ${told.undone}`);
    else if (told.unplaced !== undefined && told.unplacedRevision === revision)
      block(slot, revision, `no machine takes a replica: ${told.unplaced}`);
    else block(slot, revision, undefined);
    if (before?.revision !== told.revision || before.replicas !== told.replicas) onChange(slot.state);
  };

  const strikeUnseen = (): void => {
    for (const slot of slots.values()) {
      const isGone = slot.told !== undefined && !slot.seen;
      slot.seen = false;
      if (!isGone) continue;
      slot.told = undefined;
      slot.undone = undefined;
      onChange(slot.state);
      if (slot.state.isOver) slots.delete(slot.state.key);
    }
  };

  const hear = (news: ServiceNews): void => {
    switch (news.kind) {
      case "replica": {
        const slot = slotOf(open(news.replica));
        enter(slot, news.replica);
        return onChange(slot.state);
      }
      case "exit":
        return void end(news);
      case "service":
        return hearService(slotOf(open(news.function)), news);
      case "looked":
        return strikeUnseen();
    }
  };

  const holdBackMs = ({ id, spec, revision }: ReplicaStart): number => {
    const slot = slots.get(formatFunctionName(spec));
    const backOff = slot?.state.backOff;
    if (!slot || backOff?.revision !== revision || backOff.failures === 0) return 0;
    const leftMs = backOff.nextTryAtMs - Date.now();
    if (leftMs > 0) return Math.min(leftMs, longestHoldMs);
    // After failures one replica is tried at a time.
    for (const other of slot.launched) if (slot.state.find(other)?.state !== "starting") slot.launched.delete(other);
    if ([...slot.launched].some((other) => other !== id)) return turnMs;
    slot.launched.add(id);
    return 0;
  };

  return {
    bring,
    hear: () => {},
    adopt: () =>
      backend.follow({
        onNews: hear,
        holdBackMs,
        isServing: (replica) => owners.get(replica)?.state.find(replica)?.readyMs !== undefined,
      }),
    drainAll: async () => {},
    clearTimers: () => {},
  };
};
