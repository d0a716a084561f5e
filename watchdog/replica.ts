import { BuskerError } from "../schemas/errors.ts";
import type { ReplicaControl, ReplicaLoad, ReplicaOrder, SecretOrder } from "../schemas/invocation.ts";
import type { ReplicaLaunch } from "../schemas/launch.ts";
import { invokeSubject, replicaSubject, type ReplicaState } from "../schemas/subjects.ts";
import { replicaEventType } from "../schemas/events.ts";
import type { Bus, BusMessage } from "../services/bus/connection.ts";
import { publishEvent } from "../services/bus/events.ts";
import { encodePassedOn } from "../services/bus/invocation-wire.ts";
import { callerOf, createAnswering } from "./answer-calls.ts";
import { createCallRecorder } from "./call-recorder.ts";
import { createCallRunner } from "./call-runner.ts";
import { createCallStreams } from "./call-streams.ts";
import { createCallTracer } from "./call-trace.ts";
import { createKeptAnswers } from "./kept-answers.ts";
import type { Mode } from "./mode.ts";
import { type Announce, createPresence } from "./presence.ts";
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

  const announce: Announce = (state, more) => {
    const data = { revision: launch.revision, slots: keeper.slots, inFlight: keeper.loadFor("") };
    publishEvent(bus, {
      subject: replicaSubject(state, namespace, name, id),
      type: replicaEventType(state),
      data: { ...data, ...more },
      // One announcement of a state is on the record; those repeated for newcomers are swallowed by the stream.
      id: `${id}-${state}`,
    });
  };

  const answering = createAnswering(bus, keeper);
  const { timeoutMs } = launch;
  // A function that dies breaks its calls a moment before its end is known. Until then the next calls are better off
  // elsewhere, or waiting; when it lives after all, the replica says that it is ready again.
  const pause = (): void => {
    if (!presence.isOpen()) return;
    keeper.close();
    setTimeout(() => {
      if (!presence.isOpen()) return;
      keeper.reopen();
      announce("ready");
    }, pauseMs).unref();
  };
  const { readyPath } = parts;
  const streams = createCallStreams(bus, { namespace, name, replica: id });
  const { traces } = launch;
  const runner = createCallRunner({
    mode,
    keeper,
    reporter,
    answering,
    streams,
    kept: createKeptAnswers(bus, { namespace, name, replica: id }),
    recorder: launch.recordsBodies ? createCallRecorder(bus, { namespace, name }) : undefined,
    tracer: traces && reporter.spans && createCallTracer(reporter.spans, { name, policy: traces }),
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

  const onOrder = (order: ReplicaOrder): void => {
    switch (order.kind) {
      case "drain":
        return parts.onDrain();
      case "renew":
        return parts.onRenew?.(order.jwt);
      case "freeze":
        return presence.freeze(order.number);
      case "resume":
        return presence.resume();
      case "secret":
        return parts.onSecret?.(order);
    }
  };

  const presence = createPresence({
    bus,
    launch,
    keeper,
    streams,
    announce,
    on: { direct: onDirect, queued: onQueued, control: onControl, order: onOrder },
    onFreezing: reporter.flush,
    onStuck: parts.onDrain,
  });
  return {
    announce: (state, reason) => announce(state, reason === undefined ? {} : { reason }),
    inFlight: () => keeper.inFlight,
    open: presence.open,
    close: presence.close,
    drain: presence.drain,
    reconnect: presence.reconnect,
  };
};

const busy = new BuskerError("replica_busy", "every slot of this replica is taken");
const allBusy = new BuskerError("replica_busy", `${maxHops + 1} replicas in turn had no free slot; try again`);
