import {
  AckPolicy,
  type Consumer,
  type ConsumerMessages,
  DeliverPolicy,
  jetstream,
  jetstreamManager,
  type JsMsg,
} from "@nats-io/jetstream";
import { nanos } from "nats";
import { isSubjectMatch } from "../../schemas/subjects.ts";
import type { StreamDefinition } from "../../schemas/topology.ts";
import type { Bus } from "./connection.ts";
import { asBusError } from "./jetstream-errors.ts";
import { keepRunning } from "./keep-running.ts";
import { reportFault } from "./report-fault.ts";
import { openWorkQueue } from "./work-queue.ts";

/** What became of one delivery: one exhaustive switch acks, naks or terminates. */
export type Disposition =
  | { readonly kind: "done" }
  | { readonly kind: "retry"; readonly delayMs: number }
  | { readonly kind: "dead"; readonly reason: string };

/** A durable pull consumer. */
export interface ConsumerOptions {
  readonly stream: StreamDefinition;
  /** Its name: several processes that give the same one share the work. */
  readonly durable: string;
  /** What is handled. One filter is applied by the server; several only here, as nats-server 2.9 knows one a consumer. */
  readonly filters: readonly string[];
  /** Deliveries at a time in this process: no more are taken from the server than are handled. */
  readonly concurrency: number;
  /** How long a silent holder keeps a delivery; extended while the handler runs. */
  readonly leaseMs: number;
  /** So many are asked for at a time at least, where as many may come: a pull of one costs as much; absent: 1. */
  readonly leastPull?: number;
  /** Deliveries that may be taken or wait for their next, in all processes together; absent: 10,000, -1: any number. */
  readonly maxUnsettled?: number;
}

type Handler = (message: JsMsg) => Promise<Disposition>;

// A pull is renewed this often while nothing comes.
const pullMs = 30_000;
// After two of these without a sign the pull is made again. In a cluster the consumer's leader may be gone with a server
// that is not the one we are connected to, and nothing else says so.
const heartbeatMs = 2000;
const pullOptions = { expires: pullMs, idle_heartbeat: heartbeatMs };
// A handler that threw is tried again after 1 s, 2 s, 4 s ... at most this.
const longestFaultDelayMs = 60_000;

const extendLease = (bus: Bus, message: JsMsg, leaseMs: number): (() => void) => {
  // While the server is away there is nobody to tell, and the library throws once the connection is closed.
  const timer = setInterval(() => bus.isConnected() && message.working(), leaseMs / 3).unref();
  return () => clearInterval(timer);
};

const settle = (message: JsMsg, disposition: Disposition): void => {
  switch (disposition.kind) {
    case "done":
      return message.ack();
    case "retry":
      return message.nak(Math.ceil(disposition.delayMs));
    case "dead":
      // Without the reason: nats-server 2.9 takes `+TERM <reason>` for nothing at all, and delivers again.
      return message.term();
  }
};

const decide = async (message: JsMsg, handler: Handler): Promise<Disposition> => {
  try {
    return await handler(message);
  } catch (cause) {
    // A handler decides by data; one that throws has decided nothing, so the message comes again.
    reportFault(`the handler of ${message.subject} failed; the message comes again`, cause);
    const delayMs = Math.min(1000 * 2 ** (message.info.deliveryCount - 1), longestFaultDelayMs);
    return { kind: "retry", delayMs };
  }
};

const handle = async (bus: Bus, options: ConsumerOptions, message: JsMsg, handler: Handler): Promise<void> => {
  if (!options.filters.some((filter) => isSubjectMatch(filter, message.subject))) return message.ack();
  const release = extendLease(bus, message, options.leaseMs);
  const disposition = await decide(message, handler);
  release();
  try {
    settle(message, disposition);
  } catch (cause) {
    // The connection is closed: the lease lapses and the message comes again, here or elsewhere.
    reportFault(`could not settle ${message.subject} as ${disposition.kind}`, cause);
  }
};

const ensureConsumer = async (bus: Bus, options: ConsumerOptions): Promise<Consumer> => {
  const { stream, durable, filters, leaseMs } = options;
  const [only] = filters.length === 1 ? filters : [];
  const manager = await jetstreamManager(bus.nc, { checkAPI: false });
  const config = {
    ack_wait: nanos(leaseMs),
    max_ack_pending: options.maxUnsettled ?? 10_000,
    ...(only === undefined ? {} : { filter_subject: only }),
  };
  const exists = await manager.consumers.info(stream.name, durable).then(
    () => true,
    () => false,
  );
  await (exists
    ? manager.consumers.update(stream.name, durable, config)
    : manager.consumers.add(stream.name, {
        durable_name: durable,
        ack_policy: AckPolicy.Explicit,
        deliver_policy: DeliverPolicy.All,
        ...config,
      }));
  return jetstream(bus.nc).consumers.get(stream.name, durable);
};

// Two questions to the server, more only where something looks odd.
const lookAfterMs = 5000;

/**
 * Looks after the consumer of a work queue: a server that was killed may have it forget messages (see `removeForgetful`); it is
 * made again then. Gives a function that ends it.
 */
const lookAfter = (
  bus: Bus,
  { stream, durable, filters, leaseMs }: ConsumerOptions,
  onRemoved: () => void,
): (() => void) => {
  if (stream.retention !== "workqueue") return () => {};
  const consumer = { name: durable, subject: filters[0] ?? ">", leaseMs };
  const look = async (): Promise<void> => {
    if (bus.isConnected() && (await (await openWorkQueue(bus, stream)).removeForgetful(consumer))) onRemoved();
  };
  const timer = setInterval(() => {
    look().catch((cause: unknown) => {
      if (bus.isConnected()) reportFault(`could not look after consumer ${durable} of stream ${stream.name}`, cause);
    });
  }, lookAfterMs).unref();
  return () => clearInterval(timer);
};

/**
 * Consumes a stream durably: at least once, `concurrency` messages at a time and started in the stream's order, the
 * lease extended while a handler runs. Goes on over a restart of the server. Rejects when the consumer cannot be made.
 * Gives a function that stops taking and waits for what is being handled.
 */
export const consumeDurably = async (
  bus: Bus,
  options: ConsumerOptions,
  handler: Handler,
): Promise<() => Promise<void>> => {
  let consumer: Consumer | undefined = await ensureConsumer(bus, options).catch((cause: unknown) => {
    throw asBusError(`could not consume stream ${options.stream.name} as ${options.durable}`, cause);
  });
  const running = new Set<Promise<void>>();
  const stopping = new AbortController();
  const most = options.concurrency - (options.leastPull ?? 1);
  let batch: ConsumerMessages | undefined;
  let wake = (): void => {};
  const start = (message: JsMsg): void => {
    const work: Promise<void> = handle(bus, options, message, handler).finally(() => {
      running.delete(work);
      wake();
    });
    running.add(work);
  };
  // As many as there are free places: what is asked for and what runs are never more than `concurrency` together, so
  // that nothing waits here with its lease running while another process is idle.
  const pull = async (): Promise<void> => {
    while (running.size > most && !stopping.signal.aborted) await new Promise<void>((resolve) => (wake = resolve));
    if (stopping.signal.aborted) return;
    // Made anew after a pull that failed: the consumer may have gone with its stream.
    consumer ??= await ensureConsumer(bus, options);
    try {
      batch = await consumer.fetch({ max_messages: options.concurrency - running.size, ...pullOptions });
      if (stopping.signal.aborted) batch.stop();
      for await (const message of batch) start(message);
    } catch (cause) {
      consumer = undefined;
      throw cause;
    }
  };
  // A pull outstanding at a server that went away is answered by nobody.
  const unlisten = bus.onChange((connected) => {
    if (!connected) batch?.stop();
  });
  const endLooks = lookAfter(bus, options, () => {
    consumer = undefined;
    batch?.stop();
  });
  const loop = keepRunning(bus, `consuming stream ${options.stream.name} as ${options.durable}`, stopping.signal, pull);
  return async () => {
    stopping.abort();
    wake();
    unlisten();
    endLooks();
    batch?.stop();
    await loop;
    await Promise.all(running);
  };
};
