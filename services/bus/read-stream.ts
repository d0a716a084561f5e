import { type Consumer, type ConsumerMessages, DeliverPolicy, type JsMsg } from "@nats-io/jetstream";
import type { StreamDefinition } from "../../schemas/topology.ts";
import type { Bus } from "./connection.ts";
import { followerJetStream, openPatiently } from "./follow-jetstream.ts";
import { headerText } from "./headers.ts";
import { asBusError } from "./jetstream-errors.ts";
import { keepRunning } from "./keep-running.ts";
import { reportFault } from "./report-fault.ts";

/** One message read from a stream. */
export interface StreamMessage {
  readonly subject: string;
  readonly data: Uint8Array;
  /** Its headers as text, for `headerValue`. */
  readonly headerText: () => string;
  /** Its number in the stream. */
  readonly seq: number;
  /** Milliseconds since the epoch: when the stream took it. */
  readonly atMs: number;
  /** Messages that match and come after it. */
  readonly pending: number;
}

/** What part of a stream to read. */
export interface ReadOptions {
  readonly stream: StreamDefinition;
  readonly filter: string;
  readonly since: Date;
  /** Behind this number instead of from a time on. */
  readonly afterSeq?: number | undefined;
}

// Asked for at a time; read as fast as they come.
const batchSize = 1000;
// After two of these without a sign the reader begins anew where it was. In a cluster its consumer may be gone with a
// server that is not the one we are connected to, and nothing else says so.
const heartbeatMs = 2000;

// The library asks after the lost consumer for ever (seen with 3.4): the cluster still has it in its books.
const stopWhenSilent = async (messages: ConsumerMessages): Promise<void> => {
  for await (const { type } of messages.status()) if (type === "heartbeats_missed") messages.stop();
};

// From a time on at first, then from where it was: a server that was away has forgotten the consumer.
const openConsumer = (bus: Bus, options: ReadOptions, lastSeq: number): Promise<Consumer> =>
  followerJetStream(bus).consumers.get(options.stream.name, {
    filter_subjects: options.filter,
    ...(lastSeq > 0 || options.afterSeq !== undefined
      ? { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: lastSeq + 1 }
      : { deliver_policy: DeliverPolicy.StartTime, opt_start_time: options.since.toISOString() }),
  });

/** What a reader of a stream is told of a message. */
export const toStreamMessage = (message: JsMsg): StreamMessage => ({
  subject: message.subject,
  data: message.data,
  headerText: () => headerText(message),
  seq: message.seq,
  atMs: message.info.timestampNanos / 1e6,
  pending: message.info.pending,
});

/**
 * Reads a stream in order from a time on, what is there and then what comes, each message once, over restarts of the
 * server too. `onMessage` gets each; `onCaughtUp` is called once, when everything that was there has been told. Rejects
 * with `bus_unavailable` when the stream cannot be read now. Gives a function that stops it.
 */
export const readStream = async (
  bus: Bus,
  options: ReadOptions,
  onMessage: (message: StreamMessage) => void,
  onCaughtUp: () => void,
): Promise<() => void> => {
  bus.assertConnected();
  const stopping = new AbortController();
  const open = async (lastSeq: number) => {
    const consumer = await openConsumer(bus, options, lastSeq);
    return { consumer, waiting: (await consumer.info(true)).num_pending };
  };
  let lastSeq = options.afterSeq ?? 0;
  let told = 0;
  let caughtUp = false;
  let messages: ConsumerMessages | undefined;
  let next: Awaited<ReturnType<typeof open>> | undefined = await openPatiently(bus, () => open(lastSeq)).catch(
    (cause: unknown) => {
      throw asBusError(`could not read stream ${options.stream.name}`, cause);
    },
  );
  // By their number and not by whether more waits: where lines come as fast as they are read, more always does.
  const present = next.waiting;
  const guard = (tell: () => void): void => {
    try {
      tell();
    } catch (cause) {
      reportFault(`a reader of stream ${options.stream.name} failed`, cause);
    }
  };
  const catchUp = (): void => {
    if (caughtUp) return;
    caughtUp = true;
    guard(onCaughtUp);
  };
  const tell = (message: JsMsg): void => {
    lastSeq = message.seq;
    told += 1;
    guard(() => onMessage(toStreamMessage(message)));
    // The stream may have dropped some of them meanwhile.
    if (told >= present || message.info.pending === 0) catchUp();
  };
  const round = async (): Promise<void> => {
    const { consumer, waiting } = next ?? (await open(lastSeq));
    next = undefined;
    if (waiting === 0) catchUp();
    messages = await consumer.consume({ max_messages: batchSize, idle_heartbeat: heartbeatMs });
    void stopWhenSilent(messages);
    for await (const message of messages) {
      if (stopping.signal.aborted) return;
      tell(message);
    }
  };
  const unlisten = bus.onChange((connected) => {
    if (!connected) messages?.stop();
  });
  void keepRunning(bus, `reading stream ${options.stream.name}`, stopping.signal, round);
  return () => {
    stopping.abort();
    unlisten();
    messages?.stop();
  };
};
