import type { ReplicaOrder } from "../schemas/invocation.ts";
import type { ReplicaLaunch } from "../schemas/launch.ts";
import {
  demandSubject,
  invokeReplicaSubject,
  invokeSubject,
  replicaControlSubject,
  replicaOrderSubject,
  replicaQueueGroup,
  type ReplicaState,
} from "../schemas/subjects.ts";
import type { Bus, BusMessage } from "../services/bus/connection.ts";
import { reportFault } from "../services/bus/report-fault.ts";
import type { CallStreams } from "./call-streams.ts";
import type { SlotKeeper } from "./slot-keeper.ts";

/** Says a state of this replica; `order` is the one that `frozen` follows. */
export type Announce = (state: ReplicaState, more?: { readonly reason?: string; readonly order?: number }) => void;

/** What a presence works with. */
export interface PresenceParts {
  readonly bus: Bus;
  readonly launch: Pick<ReplicaLaunch, "namespace" | "name" | "replica" | "timeoutMs">;
  readonly keeper: SlotKeeper;
  readonly streams: Pick<CallStreams, "listen">;
  readonly announce: Announce;
  readonly on: {
    readonly direct: (message: BusMessage) => void;
    readonly queued: (message: BusMessage) => void;
    readonly control: (message: BusMessage) => void;
    readonly order: (order: ReplicaOrder) => void;
  };
  /** Called before this replica says that it is frozen. */
  readonly onFreezing: () => void;
  /** A call would not end, so that this replica cannot be frozen: it is to end instead. */
  readonly onStuck: () => void;
}

/** Whether a replica takes calls. Its changes come one after the other, each as a whole. */
export interface Presence {
  readonly isOpen: () => boolean;
  /** Subscribes, and says that the replica is ready once the server knows it. */
  readonly open: () => Promise<void>;
  /** Takes nothing new, waits until what is in flight has ended or `graceMs` is over. */
  readonly drain: (graceMs: number) => Promise<void>;
  /** Takes nothing new from this moment on. */
  readonly close: () => void;
  /** Drains, connects again (with credentials read anew) and takes calls again. */
  readonly reconnect: () => Promise<void>;
  /** Drains, gives up everything but orders and says so with this number; then this process may be paused. */
  readonly freeze: (order: number) => void;
  /** Takes calls again, and says that it does. */
  readonly resume: () => void;
}

const idleLookMs = 10;
// Calls end at their deadlines; what is still there after this has lost its end.
const stuckMs = 2000;

/** Makes the presence of a replica that is not there yet. */
export const createPresence = (parts: PresenceParts): Presence => {
  const { bus, keeper, announce, on } = parts;
  const { namespace, name, replica: id, timeoutMs } = parts.launch;
  let isOpen = false;
  let isOver = false;
  let isFrozen = false;
  /** The number of the freeze order that counts; undefined: it is to be open. */
  let order: number | undefined;
  let closeDirect: () => Promise<void> = async () => {};
  let closeQueue: () => Promise<void> = async () => {};
  let closeSides: () => void = () => {};
  let turn: Promise<void> = Promise.resolve();

  const inTurn = (change: () => Promise<void> | void): Promise<void> => {
    turn = turn.then(change).catch((error: unknown) => reportFault("a replica could not change its presence", error));
    return turn;
  };
  const subscribe = (subject: string, handle: (message: BusMessage) => void, queue?: string) =>
    bus.nc.subscribe(subject, {
      ...(queue === undefined ? {} : { queue }),
      callback: (error, message) => {
        if (!error) handle(message);
      },
    });
  const subscribeCalls = (): void => {
    const direct = subscribe(invokeReplicaSubject(namespace, name, id), on.direct);
    const queued = subscribe(invokeSubject(namespace, name), on.queued, replicaQueueGroup);
    // Drained, because the library throws away what is on its way to a subscription that is merely given up. With the
    // server away there is nothing on its way.
    closeDirect = () => direct.drain().catch(() => {});
    closeQueue = () => queued.drain().catch(() => {});
  };
  const subscribeSides = (): void => {
    const control = subscribe(replicaControlSubject(id), on.control);
    const demand = subscribe(demandSubject(namespace, name), () => isOpen && announce("ready"));
    const unlisten = parts.streams.listen();
    closeSides = () => {
      control.unsubscribe();
      demand.unsubscribe();
      unlisten();
    };
  };
  const flush = (): Promise<void> => bus.nc.flush().catch(() => {});
  const shut = (): void => {
    if (isOpen) announce("draining");
    isOpen = false;
    keeper.close();
  };
  const takeCalls = (): void => {
    keeper.reopen();
    isOpen = true;
    announce("ready");
  };

  /** Whether all calls have ended, when `graceMs` is over or `isEnough`. */
  const untilIdle = async (graceMs: number, isEnough = (): boolean => false): Promise<boolean> => {
    const endMs = Date.now() + graceMs;
    while (keeper.inFlight > 0 && Date.now() < endMs && !isEnough())
      await new Promise((resolve) => setTimeout(resolve, idleLookMs));
    return keeper.inFlight === 0;
  };
  const tellFrozen = (): void => announce("frozen", order === undefined ? {} : { order });

  const fallAsleep = async (): Promise<void> => {
    shut();
    await Promise.all([closeDirect(), closeQueue()]);
    const isIdle = await untilIdle(timeoutMs + stuckMs, () => isOver || order === undefined);
    if (isOver) return;
    if (order === undefined) {
      subscribeCalls();
      return takeCalls();
    }
    if (!isIdle) return parts.onStuck();
    closeSides();
    isFrozen = true;
    parts.onFreezing();
    tellFrozen();
    // What was asked of the server before is answered now: a ping left open would count against the connection later.
    await flush();
  };
  // The server takes subscriptions and announcement in the order sent: who hears the one meets the others.
  const wakeUp = (): void => {
    isFrozen = false;
    subscribeSides();
    subscribeCalls();
    takeCalls();
  };
  const follow = async (): Promise<void> => {
    if (isOver) return;
    if (order === undefined) {
      if (isFrozen) wakeUp();
      else if (isOpen) announce("ready");
    } else if (isFrozen) tellFrozen();
    else if (isOpen) await fallAsleep();
  };

  const connectAgain = async (): Promise<void> => {
    const again = new Promise<void>((resolve) => {
      const forget = bus.onChange((connected) => {
        if (!connected) return;
        forget();
        resolve();
      });
    });
    await bus.nc.reconnect();
    await again;
  };
  const reconnect = async (): Promise<void> => {
    if (isOver) return;
    if (isFrozen) return connectAgain();
    shut();
    // What is sent here from now on comes back to its sender as "no responders": a message that reached a connection
    // in the moment of its end would be lost without a word.
    await Promise.all([closeDirect(), closeQueue()]);
    await untilIdle(timeoutMs);
    await flush();
    await connectAgain();
    if (isOver) return;
    subscribeCalls();
    await flush();
    if (!isOver) takeCalls();
  };
  const open = async (): Promise<void> => {
    subscribeCalls();
    subscribeSides();
    subscribe(replicaOrderSubject(id), (message) => on.order(message.json<ReplicaOrder>()));
    bus.onChange((connected) => {
      if (!connected || isOver) return;
      if (isOpen) announce("ready");
      // Whoever wants it awake may have said so to the connection that is gone.
      if (isFrozen) tellFrozen();
    });
    await flush();
    if (!isOver) takeCalls();
  };

  return {
    isOpen: () => isOpen,
    open: () => inTurn(open),
    close: () => {
      shut();
      isOver = true;
    },
    drain: async (graceMs) => {
      shut();
      isOver = true;
      const closed = closeQueue();
      // What is on its way here is passed on to another replica. A server that is away has nothing and answers nothing.
      if (bus.isConnected()) await closed;
      await untilIdle(graceMs);
    },
    reconnect: () => inTurn(reconnect),
    freeze: (number) => {
      order = number;
      void inTurn(follow);
    },
    resume: () => {
      order = undefined;
      void inTurn(follow);
    },
  };
};
