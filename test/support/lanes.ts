import { setTimeout as pause } from "node:timers/promises";
import { jetstreamManager } from "@nats-io/jetstream";
import type { FunctionName } from "../../schemas/names.ts";
import { type Priority, queueSubject } from "../../schemas/subjects.ts";
import { createAcceptor } from "../../services/bus/accept-calls.ts";
import { openAcknowledged } from "../../services/bus/acknowledged.ts";
import { openCallRecords } from "../../services/bus/call-records.ts";
import { type Bus, openBus } from "../../services/bus/connection.ts";
import { type DurableCall, encodeDurable, newCallId } from "../../services/bus/durable-call.ts";
import { type Invoker, openInvoker } from "../../services/bus/invoker.ts";
import type { PlatformUser } from "../../services/bus/permissions.ts";
import { openWorkQueue, type WorkQueue } from "../../services/bus/work-queue.ts";
import { streams } from "../../schemas/topology.ts";
import type { Delivery, RunDelivery, Settlement } from "../../services/queue-worker/delivery.ts";
import { type Lanes, type LanesOptions, openLanes } from "../../services/queue-worker/lanes/open-lanes.ts";
import { within } from "./collector.ts";
import type { TestNats } from "./nats.ts";

/** A queued call with a body, due at once. */
export const callOf = (
  name: FunctionName,
  body: string | Uint8Array = "",
  more: { readonly id?: string; readonly priority?: Priority } = {},
): DurableCall => ({
  id: more.id ?? newCallId(),
  function: name,
  priority: more.priority ?? "normal",
  head: { method: "POST", path: "/", headers: [] },
  queuedMs: Date.now(),
  body: Buffer.from(body),
});

/** Connects as one of the platform's users. */
export const openBusOf = (nats: TestNats, user: PlatformUser): Promise<Bus> =>
  openBus({ url: nats.url, credentialsFile: nats.credsFile(user), user, name: user });

/** Who queues calls in a test. */
export interface TestQueue {
  /** As the gateway does: kept, recorded, told. */
  readonly accept: (call: DurableCall) => Promise<unknown>;
  /** Kept, and told to nobody. */
  readonly keep: (call: DurableCall) => Promise<unknown>;
  /** Resolves when the stream has no call any more. */
  readonly untilEmpty: (withinMs?: number) => Promise<void>;
  readonly queue: WorkQueue;
  readonly consumers: () => Promise<readonly string[]>;
  readonly deleteConsumer: (name: string) => Promise<unknown>;
  readonly purge: () => Promise<unknown>;
  readonly close: () => Promise<void>;
}

/** Opens it. */
export const openTestQueue = async (nats: TestNats): Promise<TestQueue> => {
  const bus = await openBusOf(nats, "admin");
  const acknowledged = openAcknowledged(bus);
  const acceptor = createAcceptor({ bus, acknowledged, records: await openCallRecords(bus, acknowledged) });
  const queue = await openWorkQueue(bus, streams.INVOCATIONS);
  const manager = await jetstreamManager(bus.nc);
  const stream = streams.INVOCATIONS.name;
  const isEmpty = async (): Promise<boolean> => {
    try {
      return (await queue.countBySubject()).size === 0;
    } catch {
      // The server is away, or its JetStream not up yet: the deadline is the caller's.
      return false;
    }
  };
  const empty = async (): Promise<void> => {
    while (!(await isEmpty())) await pause(20);
  };
  return {
    accept: async (call) => {
      await acceptor.accept(call);
      // So that the server has the event, too.
      await bus.nc.flush();
    },
    keep: (call) => {
      const { namespace, name } = call.function;
      return acknowledged.publish(
        queueSubject(namespace, name, call.priority),
        call.body,
        encodeDurable(bus.source, call),
      );
    },
    untilEmpty: (withinMs) => within(empty(), "an empty queue", withinMs),
    queue,
    consumers: async () => {
      const names: string[] = [];
      for await (const { name } of manager.consumers.list(stream)) names.push(name);
      return names;
    },
    deleteConsumer: (name) => manager.consumers.delete(stream, name),
    purge: () => manager.streams.purge(stream),
    close: async () => {
      acknowledged.close();
      await bus.close();
    },
  };
};

/** A queue-worker's lanes on a connection of their own. */
export interface TestWorker {
  readonly bus: Bus;
  readonly invoker: Invoker;
  readonly lanes: Lanes;
  readonly stop: () => Promise<void>;
}

/** Opens lanes whose calls are run by what `runWith` makes of their invocation client. */
export const openTestWorker = async (
  nats: TestNats,
  runWith: (invoker: Invoker) => RunDelivery,
  options: Partial<Omit<LanesOptions, "run">> = {},
): Promise<TestWorker> => {
  const bus = await openBusOf(nats, "queue-worker");
  const invoker = openInvoker(bus);
  const lanes = await openLanes(bus, { leaseMs: 2000, graceMs: 1000, invoker, ...options, run: runWith(invoker) });
  return {
    bus,
    invoker,
    lanes,
    stop: async () => {
      await lanes.stop();
      invoker.close();
      await bus.close();
    },
  };
};

/** Stands for an invocation client: every function has room for fifty more, whatever runs. */
export const roomy: LanesOptions["invoker"] = {
  capacity: () => ({ free: 50, inFlight: 0, waiting: 0, readyReplicas: 1 }),
  onCapacity: () => {},
};

/** Runs a call by calling its function once; what the function never saw comes again soon. */
export const callOnce =
  (invoker: Invoker, onDone: (delivery: Delivery) => void = () => {}): RunDelivery =>
  (delivery) =>
    new Promise<Settlement>((resolve) => {
      const { call } = delivery;
      const deadlineMs = Date.now() + 3_600_000;
      invoker.invoke(
        { function: call.function, callId: call.id, head: call.head, body: call.body, deadlineMs },
        (end) => {
          delivery.release();
          if (end.kind === "failed") return resolve({ kind: "retry", delayMs: 100 });
          onDone(delivery);
          resolve({ kind: "done" });
        },
      );
    });
