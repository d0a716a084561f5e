import type { FunctionName } from "../../schemas/names.ts";
import type { Bus } from "../bus/connection.ts";
import type { Log } from "../runtime/log.ts";
import type { Backend, ServiceBackend } from "./backend.ts";
import type { FunctionState } from "./function-state.ts";
import { planReplicas } from "./plan-replicas.ts";
import { createReplicaSet, type ReplicaSet } from "./replica-set.ts";
import { createServiceSet } from "./service-set.ts";

/** What was begun for one function. */
export interface Begun {
  /** When to look again though nothing happens, milliseconds since the epoch. */
  readonly againAtMs?: number | undefined;
  /** What is to be done once the function's status is told. */
  readonly afterReport?: () => void;
}

/** What brings the replicas of functions to what is wished, whoever starts them. */
export interface Fleet {
  /** Begins all that brings a function to its wish. */
  readonly bring: (state: FunctionState, nowMs: number) => Begun;
  /** Takes over what runs already. */
  readonly adopt: () => Promise<void>;
  /** Takes what a replica has said of itself, and has been noted. */
  readonly hear: ReplicaSet["hear"];
  readonly drainAll: (graceMs: number) => Promise<void>;
  readonly clearTimers: () => void;
}

/** What a fleet works with. */
export interface FleetParts {
  readonly bus: Bus;
  readonly backend: Backend | ServiceBackend;
  readonly log: Log;
  readonly open: (name: FunctionName) => FunctionState;
  /** Called when a replica has ended, or something else about a function has changed. */
  readonly onEnded: (state: FunctionState) => void;
}

const createReplicaFleet = (backend: Backend, { open, ...parts }: FleetParts): Fleet => {
  const replicas = createReplicaSet({ ...parts, backend });
  const canFreeze = backend.freeze !== undefined;
  return {
    hear: replicas.hear,
    drainAll: replicas.drainAll,
    clearTimers: replicas.clearTimers,
    // All that the plan asks for in one go: a second plan always sees what the first one has begun.
    bring: (state, nowMs) => {
      const { wish: record, backOff } = state;
      const plan = planReplicas({ record, replicas: state.replicas, backOff, canFreeze, nowMs });
      const find = (id: string) => state.find(id) ?? [];
      if (record) for (let left = plan.start; left > 0; left -= 1) replicas.start(state, record);
      plan.drain.flatMap(find).forEach(replicas.drain);
      plan.wake.flatMap(find).forEach(replicas.wake);
      const sleepy = plan.freeze.flatMap(find);
      for (const replica of sleepy) state.putToSleep(replica, nowMs);
      // Told before they hear of it: whoever then stands in for them is in his place before they leave it.
      return { againAtMs: plan.againAtMs, afterReport: () => sleepy.forEach(replicas.freeze) };
    },
    adopt: async () => {
      for (const replica of await backend.adopt()) replicas.adopt(open(replica), replica);
    },
  };
};

/** Makes the fleet that a backend needs. */
export const createFleet = (parts: FleetParts): Fleet => {
  const { backend, onEnded } = parts;
  return "apply" in backend
    ? createServiceSet({ ...parts, backend, onChange: onEnded })
    : createReplicaFleet(backend, parts);
};
