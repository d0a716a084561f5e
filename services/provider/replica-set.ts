import { randomBytes } from "node:crypto";
import { BuskerError } from "../../schemas/errors.ts";
import { type FunctionRecord, functionTimeoutMs } from "../../schemas/function.ts";
import type { Bus } from "../bus/connection.ts";
import { describeError, type Log } from "../runtime/log.ts";
import type { Backend, FoundReplica, ReplicaExit } from "./backend.ts";
import type { FunctionState, ReplicaView } from "./function-state.ts";
import { announceFor } from "./replica-ends.ts";
import { settleEnd } from "./settle-end.ts";
import { createSleeper, newSleep, type Sleeper } from "./sleep.ts";

/** The replicas of all functions: begun, ended, and what is told of their ends. */
export interface ReplicaSet {
  /** Begins a replica; it is in the function's state before this returns. */
  readonly start: (state: FunctionState, record: FunctionRecord) => void;
  /** Tells a replica to stop, and ends it when it does not in its function's time; one that is paused ends at once. */
  readonly drain: (replica: ReplicaView) => void;
  readonly freeze: Sleeper["freeze"];
  readonly wake: Sleeper["wake"];
  readonly hear: Sleeper["hear"];
  /** Enters a replica of an earlier provider. */
  readonly adopt: (state: FunctionState, found: FoundReplica) => void;
  /** Drains all; what is left after `graceMs` is killed. Resolves when none is left. */
  readonly drainAll: (graceMs: number) => Promise<void>;
  /** Takes back the deadlines of those that were told to stop. */
  readonly clearTimers: () => void;
}

/** What a replica set works with. */
export interface ReplicaSetParts {
  readonly bus: Bus;
  readonly backend: Backend;
  readonly log: Log;
  /** Called when a replica has ended and was struck out. */
  readonly onEnded: (state: FunctionState) => void;
}

// What a watchdog needs beyond its function's timeout: two seconds for the function's processes, and itself.
const stopExtraMs = 5000;
// A thaw takes milliseconds; with the connection lost meanwhile and the server busy, not seconds.
const wakeMs = 5000;
// setTimeout's longest wait: a longer one would fire at once.
const longestWaitMs = 2 ** 31 - 1;

const clearTimers = (replica: ReplicaView): void => {
  clearTimeout(replica.killTimer);
  clearTimeout(replica.sleep.timer);
};

const graceMs = ({ timeoutMs }: ReplicaView): number => Math.min(timeoutMs + stopExtraMs, longestWaitMs);

const newReplicaId = (name: string): string => `${name}-${randomBytes(6).toString("hex")}`;

/** What is known of a replica that has just been entered. */
export const viewOf = (found: FoundReplica): ReplicaView => ({
  ...found,
  state: found.frozen ? "frozen" : "starting",
  // How long one that was found frozen has been so, nobody knows: it sleeps its time from now on.
  sinceMs: found.frozen ? Date.now() : found.startedMs,
  asleep: found.frozen,
  evicted: false,
  sleep: newSleep(found.frozen),
  readyMs: undefined,
  lastWords: undefined,
  killTimer: undefined,
});

/** Makes an empty set on a backend. */
export const createReplicaSet = ({ bus, backend, log, onEnded }: ReplicaSetParts): ReplicaSet => {
  const owners = new Map<string, FunctionState>();
  let onEmpty: (() => void) | undefined;

  const enter = (state: FunctionState, found: FoundReplica): ReplicaView => {
    const replica = viewOf(found);
    state.add(replica);
    owners.set(replica.id, state);
    return replica;
  };

  const strike = (state: FunctionState, replica: ReplicaView, message: string, isRefused?: boolean): void => {
    owners.delete(replica.id);
    state.strike(replica, message, isRefused);
    onEnded(state);
    if (owners.size === 0) onEmpty?.();
  };

  const onExit = async (exit: ReplicaExit): Promise<void> => {
    const state = owners.get(exit.id);
    const replica = state?.find(exit.id);
    if (!state || !replica) return;
    clearTimers(replica);
    strike(state, replica, await settleEnd({ bus, log }, state, replica, exit), exit.isRefused);
  };
  backend.onExit((exit) => void onExit(exit));

  const kill = (replica: ReplicaView): void => {
    replica.stopping = true;
    backend.kill(replica.id);
  };
  const drain = (replica: ReplicaView): void => {
    clearTimeout(replica.sleep.timer);
    const { isPaused, isChanging } = replica.sleep;
    if (replica.asleep && (isPaused || isChanging)) return kill(replica);
    replica.stopping = true;
    backend.stop(replica.id);
    replica.killTimer ??= setTimeout(() => backend.kill(replica.id), graceMs(replica));
  };
  const sleeper = createSleeper({ bus, backend, log, drain, kill, graceMs, wakeMs });
  const all = (): readonly ReplicaView[] => [...owners].flatMap(([id, state]) => state.find(id) ?? []);

  return {
    drain,
    freeze: sleeper.freeze,
    wake: sleeper.wake,
    hear: sleeper.hear,
    start: (state, { spec, revision }) => {
      const id = newReplicaId(spec.name);
      const timeoutMs = functionTimeoutMs(spec);
      const replica = enter(state, {
        ...state.name,
        id,
        revision,
        timeoutMs,
        startedMs: Date.now(),
        stopping: false,
        frozen: false,
      });
      backend.start({ id, spec, revision }).then(
        // It may have been told to stop before there was anything to stop.
        () => replica.stopping && backend.stop(id),
        (error: unknown) => {
          const isRefused = error instanceof BuskerError && error.code === "invalid_request";
          return onExit({ id, code: 1, signal: null, output: "", reason: describeError(error), isRefused });
        },
      );
      announceFor(bus, replica, "starting", { spec });
    },
    adopt: (state, found) => {
      const replica = enter(state, found);
      if (found.stopping) drain(replica);
      else if (!found.frozen) sleeper.greet(replica);
    },
    drainAll: (graceMs) =>
      new Promise((resolve) => {
        const kill = setTimeout(() => [...owners.keys()].forEach(backend.kill), graceMs);
        onEmpty = () => {
          clearTimeout(kill);
          resolve();
        };
        all().forEach(drain);
        if (owners.size === 0) onEmpty();
      }),
    clearTimers: () => {
      all().forEach(clearTimers);
    },
  };
};
