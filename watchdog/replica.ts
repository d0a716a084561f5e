import { BuskerError } from "../schemas/errors.ts";
import type { ReplicaControl, ReplicaLoad, ReplicaOrder, SecretOrder } from "../schemas/invocation.ts";
import type { ReplicaLaunch } from "../schemas/launch.ts";
import {
  demandSubject,
  invokeReplicaSubject,
  invokeSubject,
  replicaControlSubject,
  replicaOrderSubject,
  replicaQueueGroup,
  replicaSubject,
  type ReplicaState,
} from "../schemas/subjects.ts";
import { replicaEventType } from "../schemas/events.ts";
import type { Bus, BusMessage } from "../services/bus/connection.ts";
import { publishEvent } from "../services/bus/events.ts";
import { encodePassedOn } from "../services/bus/invocation-wire.ts";
import { callerOf, createAnswering } from "./answer-calls.ts";
import { createCallRunner } from "./call-runner.ts";
import { createCallStreams } from "./call-streams.ts";
import { createKeptAnswers } from "./kept-answers.ts";
import type { Mode } from "./mode.ts";
import type { Reporter } from "./reporter.ts";
import { SlotKeeper } from "./slot-keeper.ts";

/** A replica on the bus: takes calls while it is open. */
export interface Replica {
  /** Subscribes, and says that it is ready once the server knows it. */
  readonly open: () => Promise<void>;
  /** Takes nothing new, waits until what is in flight has ended or `graceMs` is over. */
  readonly drain: (graceMs: number) => Promise<void>;
  /** Takes nothing new from this moment on: the function is gone. */
  readonly close: () => void;
  /** Drains, connects again (with credentials read anew) and takes calls again. */
  readonly reconnect: () => Promise<void>;
  readonly announce: (state: ReplicaState, reason?: string) => void;
  readonly inFlight: () => number;
}

/** What a replica is made of. */
export interface ReplicaParts {
  readonly bus: Bus;
  readonly launch: ReplicaLaunch;
  readonly mode: Mode;
  readonly slots: number;
  readonly reporter: Reporter;
  /** Path of the function's own readiness, where it has one; else empty. */
  readonly readyPath: string;
  /** Somebody asked for the end of this replica. */
  readonly onDrain: () => void;
  /** The JWT that follows; absent: credentials are renewed in their file. */
  readonly onRenew?: ((jwt: string) => void) | undefined;
  /** A secret's newer value; absent: secrets are renewed in their files. */
  readonly onSecret?: ((order: SecretOrder) => void) | undefined;
}

// A call that a full replica passes on lands on another full one with the load's probability each time: at 80 % load
// eight hops leave 13 % of such calls unserved, and only callers without slots depend on it.
const maxHops = 8;
const idleLookMs = 10;
// Long enough to learn of a child's end; a function that lives after all is without calls for no longer.
const pauseMs = 100;

/** Puts a mode on the bus. */
export const createReplica = (parts: ReplicaParts): Replica => {
  const { bus, launch, mode, reporter } = parts;
  const { namespace, name, replica: id } = launch;
  const loadMessage = (caller: string, offer: boolean): string =>
    JSON.stringify({
      replica: id,
      inFlight: keeper.loadFor(caller),
      slots: keeper.slots,
      offer,
    } satisfies ReplicaLoad & {
      offer: boolean;
    });
  const keeper = new SlotKeeper(parts.slots, (reply) => bus.nc.publish(reply, loadMessage("", true)));

  const announce = (state: ReplicaState, reason?: string): void => {
    const data = { revision: launch.revision, slots: keeper.slots, inFlight: keeper.loadFor("") };
    publishEvent(bus, {
      subject: replicaSubject(state, namespace, name, id),
      type: replicaEventType(state),
      data: reason === undefined ? data : { ...data, reason },
      // One announcement of a state is on the record; those repeated for newcomers are swallowed by the stream.
      id: `${id}-${state}`,
    });
  };

  const answering = createAnswering(bus, keeper);
  const { timeoutMs } = launch;
  // A function that dies breaks its calls a moment before its end is known. Until then the next calls are better off
  // elsewhere, or waiting; when it lives after all, the replica says that it is ready again.
  const pause = (): void => {
    if (!isOpen) return;
    keeper.close();
    setTimeout(() => {
      if (!isOpen) return;
      keeper.reopen();
      announce("ready");
    }, pauseMs).unref();
  };
  const { readyPath } = parts;
  const streams = createCallStreams(bus, { namespace, name, replica: id });
  const runner = createCallRunner({
    mode,
    keeper,
    reporter,
    answering,
    streams,
    kept: createKeptAnswers(bus, { namespace, name, replica: id }),
    timeoutMs,
    readyPath,
    onUnreachable: pause,
  });

  const onDirect = (message: BusMessage): void => {
    const request = answering.read(message);
    if (!request) return;
    if (keeper.take(callerOf(message))) runner.begin(message, request);
    else answering.refuse(message, busy, request.callId);
  };

  const onQueued = (message: BusMessage): void => {
    const request = answering.read(message);
    if (!request) return;
    if (keeper.take(callerOf(message))) return runner.begin(message, request);
    if (request.hops >= maxHops) return answering.refuse(message, allBusy, request.callId);
    const subject = invokeSubject(namespace, name);
    const options = {
      headers: encodePassedOn(message, request.hops + 1),
      ...(message.reply ? { reply: message.reply } : {}),
    };
    bus.nc.publish(subject, message.data, options);
  };

  const onControl = (message: BusMessage): void => {
    const control = message.json<ReplicaControl>();
    const from = callerOf(message);
    switch (control.kind) {
      case "cancel":
        return runner.cancel(control.callId);
      case "ping":
        if (message.reply) bus.nc.publish(message.reply, loadMessage(from, false));
        return;
      case "reserve":
        runner.watchClock();
        // An offer to no subject would make the server cut this replica off.
        return message.reply ? keeper.reserve(from, control.since, message.reply) : undefined;
      case "withdraw":
        return keeper.withdraw(from);
    }
  };

  const onOrder = (message: BusMessage): void => {
    const order = message.json<ReplicaOrder>();
    switch (order.kind) {
      case "drain":
        return parts.onDrain();
      case "renew":
        return parts.onRenew?.(order.jwt);
      case "secret":
        return parts.onSecret?.(order);
    }
  };

  const untilIdle = async (graceMs: number): Promise<void> => {
    const endMs = Date.now() + graceMs;
    while (keeper.inFlight > 0 && Date.now() < endMs) await new Promise((resolve) => setTimeout(resolve, idleLookMs));
  };

  let isOpen = false;
  let isOver = false;
  let closeQueue: () => Promise<void> = async () => {};
  let closeDirect: () => Promise<void> = async () => {};
  const guard =
    (handle: (message: BusMessage) => void) =>
    (error: Error | null, message: BusMessage): void => {
      if (!error) handle(message);
    };
  const subscribeCalls = (): void => {
    const direct = bus.nc.subscribe(invokeReplicaSubject(namespace, name, id), { callback: guard(onDirect) });
    const queued = bus.nc.subscribe(invokeSubject(namespace, name), {
      queue: replicaQueueGroup,
      callback: guard(onQueued),
    });
    // Drained, because the library throws away what is on its way to a subscription that is merely given up. With the
    // server away there is nothing on its way.
    closeDirect = () => direct.drain().catch(() => {});
    closeQueue = () => queued.drain().catch(() => {});
  };
  const untilConnectedAgain = (): Promise<void> =>
    new Promise((resolve) => {
      const forget = bus.onChange((connected) => {
        if (!connected) return;
        forget();
        resolve();
      });
    });
  return {
    announce,
    inFlight: () => keeper.inFlight,
    open: async () => {
      const { nc } = bus;
      subscribeCalls();
      streams.listen();
      nc.subscribe(replicaControlSubject(id), { callback: guard(onControl) });
      nc.subscribe(replicaOrderSubject(id), { callback: guard(onOrder) });
      nc.subscribe(demandSubject(namespace, name), { callback: guard(() => isOpen && announce("ready")) });
      bus.onChange((connected) => {
        if (connected && isOpen) announce("ready");
      });
      await nc.flush();
      isOpen = true;
      announce("ready");
    },
    close: () => {
      if (isOpen) announce("draining");
      isOpen = false;
      isOver = true;
      keeper.close();
    },
    drain: async (graceMs) => {
      if (isOpen) announce("draining");
      isOpen = false;
      isOver = true;
      keeper.close();
      const closed = closeQueue();
      // What is on its way here is passed on to another replica. A server that is away has nothing and answers nothing.
      if (bus.isConnected()) await closed;
      await untilIdle(graceMs);
    },
    reconnect: async () => {
      announce("draining");
      isOpen = false;
      keeper.close();
      // What is sent here from now on comes back to its sender as "no responders": a message that reached a connection
      // in the moment of its end would be lost without a word.
      await Promise.all([closeDirect(), closeQueue()]);
      await untilIdle(launch.timeoutMs);
      await bus.nc.flush();
      const connectedAgain = untilConnectedAgain();
      await bus.nc.reconnect();
      await connectedAgain;
      if (isOver) return;
      subscribeCalls();
      await bus.nc.flush();
      keeper.reopen();
      isOpen = true;
      announce("ready");
    },
  };
};

const busy = new BuskerError("replica_busy", "every slot of this replica is taken");
const allBusy = new BuskerError("replica_busy", `${maxHops + 1} replicas in turn had no free slot; try again`);
