import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import type { CallRecord } from "../../schemas/call.ts";
import type { CallChange } from "../../schemas/events.ts";
import type { FunctionSpec } from "../../schemas/function.ts";
import type { FunctionName } from "../../schemas/names.ts";
import { defaultRetryPolicy } from "../../schemas/retry-policy.ts";
import { deadSubject } from "../../schemas/subjects.ts";
import { stores } from "../../schemas/topology.ts";
import { type AcknowledgedPublisher, openAcknowledged } from "../../services/bus/acknowledged.ts";
import { type CallAcceptor, createAcceptor } from "../../services/bus/accept-calls.ts";
import { decodeRecord, type WholeRecord } from "../../services/bus/call-record-wire.ts";
import { type CallRecords, openCallRecords } from "../../services/bus/call-records.ts";
import { type Bus, openBus } from "../../services/bus/connection.ts";
import { type DurableCall, newCallId } from "../../services/bus/durable-call.ts";
import { type Invoker, openInvoker } from "../../services/bus/invoker.ts";
import { openStore } from "../../services/bus/objects.ts";
import { openCancellations } from "../../services/queue-worker/cancellations.ts";
import type { RunParts } from "../../services/queue-worker/call-run.ts";
import type { Delivery, Settlement } from "../../services/queue-worker/delivery.ts";
import { createRunner } from "../../services/queue-worker/run-call.ts";
import type { Answer, Call, Mode } from "../../watchdog/mode.ts";
import type { TestNats } from "./nats.ts";

export type { Answer, Call } from "../../watchdog/mode.ts";

/** A queue-worker without lanes: whoever tests hands it deliveries. */
export interface TestWorker {
  readonly bus: Bus;
  readonly invoker: Invoker;
  readonly acceptor: CallAcceptor;
  readonly records: CallRecords;
  readonly acknowledged: AcknowledgedPublisher;
  /** Outcomes that were to be told. */
  readonly outcomes: WholeRecord[];
  readonly run: (call: DurableCall, more?: Partial<Delivery>, signal?: AbortSignal) => Promise<Settlement>;
  readonly record: (id: string) => Promise<CallRecord | undefined>;
  /** What stream CALLS has of a call: states in order. */
  readonly changes: (call: DurableCall) => Promise<readonly (CallChange & { readonly state: string })[]>;
  readonly deadLetter: (call: DurableCall) => Promise<WholeRecord | undefined>;
  readonly close: () => Promise<void>;
}

/** A call of a function, accepted now. */
export const durableCall = (name: FunctionName, more: Partial<DurableCall> = {}): DurableCall => ({
  id: newCallId(),
  function: name,
  priority: "normal",
  queuedMs: Date.now(),
  head: { method: "POST", path: "/", headers: [] },
  body: Buffer.from("hello"),
  ...more,
});

/** Opens one as user queue-worker; `specs` are the functions that it knows. */
export const openTestWorker = async (
  nats: TestNats,
  specs: Map<string, Partial<FunctionSpec>>,
  more: Partial<RunParts> = {},
): Promise<TestWorker> => {
  const options = { url: nats.url, credentialsFile: nats.credsFile("queue-worker"), user: "queue-worker" };
  const bus = await openBus({ ...options, name: "queue-worker" });
  const acknowledged = openAcknowledged(bus);
  const records = await openCallRecords(bus, acknowledged);
  const invoker = openInvoker(bus);
  const cancellations = openCancellations(bus);
  const outcomes: WholeRecord[] = [];
  const acceptor = createAcceptor({ bus, acknowledged, records });
  const runner = createRunner({
    bus,
    acceptor,
    acknowledged,
    records,
    invoker,
    cancellations,
    payloads: await openStore(bus, stores.payloads),
    maxResultBytes: 16 * 1024 * 1024,
    functions: {
      find: ({ namespace, name }) => {
        const spec = specs.get(name);
        if (!spec) return undefined;
        const now = new Date().toISOString();
        const record = { replicas: 1, revision: "test", createdAt: now, updatedAt: now };
        return { ...record, spec: { name, namespace, image: "test", ...spec } };
      },
    },
    policy: defaultRetryPolicy,
    counter: { bound: () => {}, attempted: () => {}, ended: () => {} },
    samples: { of: () => ({ started: () => {}, answered: () => {}, accepted: () => {} }) },
    publishOutcomes: async (whole) => void outcomes.push(whole),
    ...more,
  });
  return {
    bus,
    invoker,
    records,
    acknowledged,
    outcomes,
    acceptor,
    run: (call, delivery = {}, signal = new AbortController().signal) =>
      runner({ call, deliveryCount: 1, seq: 1, release: () => {}, ...delivery }, signal),
    record: async (id) => (await records.read(id))?.record,
    changes: async ({ id }) => {
      // Without a filter: to nats-server 2.9 one for every state is none of the stream's subjects.
      const consumer = await jetstream(bus.nc).consumers.get("CALLS");
      const { num_pending: count } = await consumer.info();
      if (count === 0) return [];
      const found: (CallChange & { readonly state: string })[] = [];
      for await (const message of await consumer.fetch({ max_messages: count, expires: 2000 })) {
        const change = message.json<CallChange>();
        if (change.id === id) found.push({ ...change, state: message.subject.split(".")[2] ?? "" });
      }
      return found;
    },
    deadLetter: async ({ id, function: { namespace, name } }) => {
      const { direct } = await jetstreamManager(bus.nc, { checkAPI: false });
      const message = await direct
        .getMessage("DEAD", { last_by_subj: deadSubject(namespace, name, id) })
        .catch(() => null);
      return message ? decodeRecord({ data: message.data, headers: message.header }) : undefined;
    },
    close: async () => {
      cancellations.stop();
      invoker.close();
      acknowledged.close();
      await bus.close();
    },
  };
};

/** Answers calls, as a function. */
export type Answering = (call: Call, finish: (answer: Answer) => void) => void;

/** An answer. */
export const ok = (body: Uint8Array | string = "", status = 200, headers: readonly string[] = []): Answer => ({
  status,
  headers,
  body,
});

/** A mode that notes its calls; one that is stopped answers so. */
export const recordingMode = (calls: Call[], stopped: string[], answer: Answering): Mode => ({
  takesStreams: true,
  start: async () => {},
  begin: (call, finish) => {
    calls.push(call);
    let isOver = false;
    const once = (result: Answer): void => {
      if (!isOver) finish(result);
      isOver = true;
    };
    setImmediate(() => answer(call, once));
    return (cause) => {
      stopped.push(call.id);
      once({ ...ok("", 499), error: cause === "deadline" ? "deadline_exceeded" : "cancelled" });
    };
  },
  stop: async () => {},
});
