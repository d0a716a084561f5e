import {
  type Consumer,
  type ConsumerMessages,
  DeliverPolicy,
  type JetStreamManager,
  type JsMsg,
} from "@nats-io/jetstream";
import type { StreamDefinition } from "../../schemas/topology.ts";
import type { Bus } from "./connection.ts";
import { followerJetStream, openPatiently } from "./follow-jetstream.ts";
import { headerText } from "./headers.ts";
import { asBusError, isNoMessage } from "./jetstream-errors.ts";
import { keepRunning } from "./keep-running.ts";
import { readLast } from "./last-message.ts";
import { reportFault } from "./report-fault.ts";

/** A place in a stream. */
export interface StreamPosition {
  /** When the stream was made: another one of the same name counts from 1 again. Empty where nobody asked for it. */
  readonly created: string;
  readonly seq: number;
  /** When the stream took the message that is there, milliseconds since the epoch; absent where nobody knows. */
  readonly storedMs?: number;
}

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

/** A message, and its place in the stream. */
export interface PlacedMessage extends StreamMessage, StreamPosition {}

/** What part of a stream to read. */
export interface ReadOptions {
  readonly stream: StreamDefinition;
  readonly filter: string;
  readonly since: Date;
  /** Behind this place instead; of a stream that is another one by now, all after `since`. */
  readonly after?: StreamPosition;
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

// A server of 2.9 that has started again takes its own start for the stream's birthday when the stream is updated, and
// says so from its next start on (seen with 2.9.10): the same message at the same place is the same stream.
const isSameStream = async (
  manager: JetStreamManager,
  { name }: StreamDefinition,
  { seq, storedMs }: StreamPosition,
): Promise<boolean> => {
  if (storedMs === undefined) return false;
  const message = await manager.streams.getMessage(name, { seq }).catch((cause: unknown) => {
    if (isNoMessage(cause)) return null;
    throw cause;
  });
  return message?.time.getTime() === Math.floor(storedMs);
};

/** Where to go on in the stream as it is now, which may be another one, or have lost its end with its machine. */
const findPlace = async (bus: Bus, { stream, after }: ReadOptions, last: StreamPosition): Promise<StreamPosition> => {
  if (!after) return last;
  const manager = await followerJetStream(bus).jetstreamManager();
  const { created, state } = await manager.streams.info(stream.name);
  if (created === last.created) return state.last_seq < last.seq ? { created, seq: state.last_seq } : last;
  // By the birthday that its readers know, so that what they have is told apart from what they have not.
  return (await isSameStream(manager, stream, last)) ? last : { created, seq: 0 };
};

const toStreamMessage = (message: JsMsg, created: string): PlacedMessage => ({
  subject: message.subject,
  data: message.data,
  headerText: () => headerText(message),
  seq: message.seq,
  created,
  atMs: message.info.timestampNanos / 1e6,
  pending: message.info.pending,
});

/** The number of the newest message that is there and will be told; 0 when there is none. */
const lastPresent = async (bus: Bus, { stream, filter, since }: ReadOptions): Promise<number> => {
  const last = await readLast(bus, stream, filter);
  return last && last.storedMs >= since.getTime() ? last.seq : 0;
};

/**
 * Reads a stream in order from a time on, what is there and then what comes, each message once, over restarts of the
 * server too. `onMessage` gets each; `onCaughtUp` is called once, when everything that was there has been told. Rejects
 * with `bus_unavailable` when the stream cannot be read now. Gives a function that stops it.
 */
export const readStream = async (
  bus: Bus,
  options: ReadOptions,
  onMessage: (message: PlacedMessage) => void,
  onCaughtUp: () => void,
): Promise<() => void> => {
  bus.assertConnected();
  const stopping = new AbortController();
  let last = options.after ?? { created: "", seq: options.afterSeq ?? 0 };
  const open = async (): Promise<Consumer> => {
    last = await findPlace(bus, options, last);
    return openConsumer(bus, options, last.seq);
  };
  let caughtUp = false;
  let messages: ConsumerMessages | undefined;
  let next: Consumer | undefined = await openPatiently(bus, open).catch((cause: unknown) => {
    throw asBusError(`could not read stream ${options.stream.name}`, cause);
  });
  // By its number and not by whether more waits: where lines come as fast as they are read, more always does. Nor by how many
  // the server says there are: 2.9.10 miscounts where a filter has several subjects, in either direction.
  let presentSeq = await lastPresent(bus, options);
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
    const { created } = last;
    const placed = toStreamMessage(message, created);
    last = { created, seq: placed.seq, storedMs: placed.atMs };
    guard(() => onMessage(placed));
    if (last.seq >= presentSeq) catchUp();
    else if (message.info.pending === 0) lookAgain();
  };
  // It may have been dropped before it was its turn.
  const lookAgain = (): void => {
    lastPresent(bus, options).then(
      (seq) => {
        presentSeq = seq;
        if (last.seq >= presentSeq) catchUp();
      },
      (cause: unknown) => reportFault(`could not see where stream ${options.stream.name} ends`, cause),
    );
  };
  const round = async (): Promise<void> => {
    const consumer = next ?? (await open());
    // The stream may have been made anew, or have dropped what was to come.
    if (!next && !caughtUp) presentSeq = await lastPresent(bus, options);
    next = undefined;
    if (last.seq >= presentSeq) catchUp();
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
