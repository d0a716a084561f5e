import { AckPolicy, type ConsumerInfo, DeliverPolicy, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { nanos } from "nats";
import type { StreamDefinition } from "../../schemas/topology.ts";
import type { Bus } from "./connection.ts";
import { asBusError } from "./jetstream-errors.ts";
import { type StreamMessage, toStreamMessage } from "./read-stream.ts";

/** What part of a stream to read backwards. */
export interface BackOptions {
  readonly stream: StreamDefinition;
  /** One subject of the stream, or a pattern within one of them: the server knows no other in 2.9. */
  readonly filter: string;
  readonly since: Date;
  /** Absent: up to now. */
  readonly until?: Date | undefined;
  /** Without the data of each message. */
  readonly headersOnly?: boolean;
  /** Messages handed over at a time, at most; absent: 4,096. */
  readonly windowMessages?: number;
}

/** A place in a stream, and a consumer that reads from there on: how many messages that match it has. */
interface Place {
  readonly info: ConsumerInfo;
  readonly seq: number;
  readonly matching: number;
}

const defaultWindow = 4096;
// What a window spans at first, in numbers of the stream, others' messages included.
const firstSpan = 1024;
// Where nothing matched, the next window is so much longer: looking costs the server little, and is what takes time here.
const emptyGrowth = 8;
// A consumer that a gateway which died has left is gone after this.
const idleMs = 10_000;
// A message that is there comes in milliseconds; one that was dropped meanwhile never does.
const fetchMs = 5000;

const openStream = async (bus: Bus, { stream, filter, headersOnly = false }: BackOptions) => {
  const manager = await jetstreamManager(bus.nc, { checkAPI: false });
  const js = jetstream(bus.nc);
  const common = { ack_policy: AckPolicy.None, inactive_threshold: nanos(idleMs), mem_storage: true } as const;
  const close = (info: ConsumerInfo): void => {
    // One that could not be deleted is gone soon by itself.
    manager.consumers.delete(stream.name, info.name).catch(() => undefined);
  };
  return {
    close,
    lastSeq: async (): Promise<number> => (await manager.streams.info(stream.name)).state.last_seq,
    /** The first number from a time on. Without the filter, by which the server would count all that follows. */
    locate: async (time: Date): Promise<number> => {
      const info = await manager.consumers.add(stream.name, {
        ...common,
        deliver_policy: DeliverPolicy.StartTime,
        opt_start_time: time.toISOString(),
      });
      close(info);
      return info.delivered.stream_seq + 1;
    },
    open: async (seq: number): Promise<Place> => {
      const info = await manager.consumers.add(stream.name, {
        ...common,
        filter_subject: filter,
        headers_only: headersOnly,
        deliver_policy: DeliverPolicy.StartSequence,
        opt_start_seq: seq,
      });
      return { info, seq, matching: info.num_pending };
    },
    read: async ({ info }: Place, count: number, lastSeq: number): Promise<readonly StreamMessage[]> => {
      const messages: StreamMessage[] = [];
      if (count === 0) return messages;
      const consumer = js.consumers.getConsumerFromInfo(info);
      for await (const message of await consumer.fetch({ max_messages: count, expires: fetchMs })) {
        // What has come since it was counted is beyond the end, and is not told.
        if (message.seq > lastSeq) break;
        messages.push(toStreamMessage(message));
        if (message.info.pending === 0) break;
      }
      return messages;
    },
  };
};

type OpenStream = Awaited<ReturnType<typeof openStream>>;

/** What is still to be read: numbers, and how many messages that match come after them. */
interface Range {
  readonly firstSeq: number;
  readonly endSeq: number;
  readonly after: number;
}

/** The window's place: as far back as `span` says, less where more than `most` would match. */
const openWindow = async (
  stream: OpenStream,
  { firstSeq, endSeq, after }: Range,
  span: number,
  most: number,
): Promise<Place & { readonly count: number }> => {
  for (let width = span; ; width = Math.max(1, Math.floor(width / 4))) {
    const place = await stream.open(Math.max(firstSeq, endSeq - width + 1));
    const count = Math.max(0, place.matching - after);
    if (count <= most || width === 1) return { ...place, count };
    stream.close(place.info);
  }
};

const wholeRange = async (stream: OpenStream, { since, until }: BackOptions): Promise<Range> => {
  const firstSeq = await stream.locate(since);
  const lastSeq = await stream.lastSeq();
  if (!until) return { firstSeq, endSeq: lastSeq, after: 0 };
  const untilSeq = await stream.locate(until);
  if (untilSeq > lastSeq) return { firstSeq, endSeq: lastSeq, after: 0 };
  const place = await stream.open(untilSeq);
  stream.close(place.info);
  return { firstSeq, endSeq: untilSeq - 1, after: place.matching };
};

async function* readWindows(bus: Bus, options: BackOptions): AsyncGenerator<readonly StreamMessage[], void> {
  const most = options.windowMessages ?? defaultWindow;
  const stream = await openStream(bus, options);
  let range = await wholeRange(stream, options);
  for (let span = Math.min(firstSpan, most); range.endSeq >= range.firstSeq;) {
    const window = await openWindow(stream, range, span, most);
    const messages = await stream.read(window, window.count, range.endSeq);
    stream.close(window.info);
    const width = range.endSeq - window.seq + 1;
    span = window.count === 0 ? width * emptyGrowth : window.count * 2 <= most ? width * 2 : width;
    range = { firstSeq: range.firstSeq, endSeq: window.seq - 1, after: window.matching };
    if (messages.length > 0) yield messages;
  }
}

/**
 * Reads the part of a stream that matches a filter backwards, window by window, the newest first; within a window the
 * messages are in the stream's order. It ends at the beginning; who has enough stops before. What matches is found by
 * the server, so that a few of a million are read about as fast as a few. Throws `bus_unavailable` when the stream cannot
 * be read now.
 */
export async function* readBack(bus: Bus, options: BackOptions): AsyncGenerator<readonly StreamMessage[], void> {
  bus.assertConnected();
  try {
    yield* readWindows(bus, options);
  } catch (cause) {
    throw asBusError(`could not read stream ${options.stream.name}`, cause);
  }
}
