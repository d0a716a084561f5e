import type { ReplicaOrder } from "../../schemas/invocation.ts";
import { replicaOrderSubject, type ReplicaState } from "../../schemas/subjects.ts";
import type { Bus } from "../bus/connection.ts";
import { describeError, type Log } from "../runtime/log.ts";
import type { Backend } from "./backend.ts";
import type { ReplicaView } from "./function-state.ts";

/** How far a replica's sleep has come. */
export interface Sleep {
  /** The number of its last freeze order; undefined: an earlier provider gave that. */
  order: number | undefined;
  /** It has said that it is frozen by that order, so that it may be paused. */
  isResting: boolean;
  /** The backend has paused it. */
  isPaused: boolean;
  /** The backend is at it. */
  isChanging: boolean;
  /** Ends it when it comes into its wished state too late. */
  timer: NodeJS.Timeout | undefined;
}

/** What has replicas freeze and wake. `asleep` of a replica is the wish; this brings it about. */
export interface Sleeper {
  /** Has a replica finish what it has; when it says that it is frozen, it is paused. */
  readonly freeze: (replica: ReplicaView) => void;
  /** Has a replica take calls again, however far its sleep has come. */
  readonly wake: (replica: ReplicaView) => void;
  /** Takes what a replica says of itself. */
  readonly hear: (replica: ReplicaView, state: ReplicaState, order: number | undefined) => void;
  /** Has a replica of an earlier provider, that is not paused, be awake: it may have frozen since. */
  readonly greet: (replica: ReplicaView) => void;
}

/** What a sleeper works with. */
export interface SleeperParts {
  readonly bus: Bus;
  readonly backend: Backend;
  readonly log: Log;
  /** Lets a replica finish and end. */
  readonly drain: (replica: ReplicaView) => void;
  /** Ends a replica that cannot be woken. */
  readonly kill: (replica: ReplicaView) => void;
  /** How long a replica may take to finish its calls, by its timeout. */
  readonly graceMs: (replica: ReplicaView) => number;
  /** How long one may take to wake up. */
  readonly wakeMs: number;
}

/** A replica that is awake, or one that was found paused. */
export const newSleep = (isPaused: boolean): Sleep => ({
  order: undefined,
  isResting: isPaused,
  isPaused,
  isChanging: false,
  timer: undefined,
});

/** Makes a sleeper on a backend that may have no `freeze`; then it is never asked for one. */
export const createSleeper = ({ bus, backend, log, drain, kill, graceMs, wakeMs }: SleeperParts): Sleeper => {
  let lastOrder = 0;
  const isGone = (replica: ReplicaView): boolean => replica.stopping || replica.state === "exited";
  const send = ({ id }: ReplicaView, order: ReplicaOrder): void =>
    bus.nc.publish(replicaOrderSubject(id), JSON.stringify(order));
  const sendFreeze = (replica: ReplicaView): void => {
    if (replica.sleep.order !== undefined) send(replica, { kind: "freeze", number: replica.sleep.order });
  };
  const resume = (replica: ReplicaView): void => {
    // What it was told while it was paused may have been told to a connection that is gone.
    backend.catchUp?.(replica.id);
    send(replica, { kind: "resume" });
  };
  const fail = (replica: ReplicaView, what: string, error: string, end: (replica: ReplicaView) => void): void => {
    if (isGone(replica)) return;
    log.warn(what, { replica: replica.id, error });
    end(replica);
  };

  // Whoever sees `isChanging` can be sure that his wish is looked at: it ends in the same turn as the last look.
  const change = async (replica: ReplicaView): Promise<void> => {
    const { id, sleep } = replica;
    if (sleep.isChanging) return;
    sleep.isChanging = true;
    try {
      while (!isGone(replica) && sleep.isPaused !== (replica.asleep && sleep.isResting)) {
        await (sleep.isPaused ? backend.thaw?.(id) : backend.freeze?.(id));
        sleep.isPaused = !sleep.isPaused;
      }
    } finally {
      sleep.isChanging = false;
    }
  };
  const settle = (replica: ReplicaView): void => {
    change(replica).catch((error: unknown) =>
      replica.sleep.isPaused
        ? fail(replica, "could not thaw a replica; it is replaced", describeError(error), kill)
        : fail(replica, "could not freeze a replica; it is stopped", describeError(error), drain),
    );
  };

  const expect = (replica: ReplicaView, withinMs: number, onLate: () => void): void => {
    clearTimeout(replica.sleep.timer);
    replica.sleep.timer = setTimeout(() => {
      // With the server away nobody can be heard.
      if (bus.isConnected()) onLate();
      else expect(replica, withinMs, onLate);
    }, withinMs);
  };

  return {
    freeze: (replica) => {
      // Larger than those of an earlier provider, so that none of them is taken for it.
      lastOrder = Math.max(Date.now(), lastOrder + 1);
      replica.sleep.order = lastOrder;
      replica.sleep.isResting = false;
      sendFreeze(replica);
      const late = "a replica did not freeze in its function's time; it is stopped";
      expect(replica, graceMs(replica), () => fail(replica, late, "timeout", drain));
    },
    wake: (replica) => {
      replica.asleep = false;
      replica.sleep.isResting = false;
      resume(replica);
      settle(replica);
      const late = "a replica did not wake up; it is replaced";
      expect(replica, wakeMs, () => fail(replica, late, "timeout", kill));
    },
    hear: (replica, state, order) => {
      const { sleep } = replica;
      if (isGone(replica)) return;
      if (state === "ready") {
        if (!replica.asleep) clearTimeout(sleep.timer);
        // It said so before it heard the order, or the order went with a connection that is gone: twice does no harm.
        else if (!sleep.isResting) sendFreeze(replica);
      }
      if (state !== "frozen") return;
      if (!replica.asleep) return resume(replica);
      if (order !== sleep.order || sleep.isResting) return;
      clearTimeout(sleep.timer);
      sleep.isResting = true;
      settle(replica);
    },
    greet: resume,
  };
};
