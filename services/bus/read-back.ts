import { AckPolicy, type ConsumerConfig, type ConsumerInfo, DeliverPolicy, jetstreamManager } from "@nats-io/jetstream";
import { nanos } from "nats";
import type { StreamDefinition } from "../../schemas/topology.ts";
import type { Bus, BusMessage } from "./connection.ts";
import type { Handout } from "./handout.ts";
import { headerText } from "./headers.ts";
import { asBusError } from "./jetstream-errors.ts";
import { openPuller, type PullEnd } from "./pull.ts";
import type { StreamMessage } from "./read-stream.ts";

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

const defaultWindow = 4096;
// What a window spans at first, in numbers of the stream, others' messages included.
const firstSpan = 1024;
// Where nothing matched, the next window is so much longer: looking costs the server little, and is what takes time here.
const emptyGrowth = 8;
// A consumer that a gateway which died has left is gone after this.
const idleMs = 10_000;

const toStreamMessage = (message: BusMessage, { seq, storedMs, pending }: Handout): StreamMessage => ({
  subject: message.subject,
  data: message.data,
  headerText: () => headerText(message),
  seq,
  atMs: storedMs,
  pending,
});

const openStream = async (bus: Bus, { stream, filter, headersOnly = false }: BackOptions) => {
  const manager = await jetstreamManager(bus.nc, { checkAPI: false });
  let came: StreamMessage[] = [];
  const puller = openPuller(bus, stream.name, (message, handout) => came.push(toStreamMessage(message, handout)));
  const open = (more: Partial<ConsumerConfig>): Promise<ConsumerInfo> =>
    manager.consumers.add(stream.name, {
      ack_policy: AckPolicy.None,
      inactive_threshold: nanos(idleMs),
      mem_storage: true,
      ...more,
    });
  const forget = ({ name }: ConsumerInfo): void => {
    // One that could not be deleted is gone soon by itself.
    manager.consumers.delete(stream.name, name).catch(() => undefined);
  };
  return {
    close: puller.close,
    lastSeq: async (): Promise<number> => (await manager.streams.info(stream.name)).state.last_seq,
    /** The first number from a time on. */
    locate: async (time: Date): Promise<number> => {
      const info = await open({ deliver_policy: DeliverPolicy.StartTime, opt_start_time: time.toISOString() });
      forget(info);
      return info.delivered.stream_seq + 1;
    },
    /**
     * So many messages at most from one number to another. What the server says a consumer still has is not asked: 2.9.10 miscounts
     * where a filter has several subjects, in either direction.
     */
    read: async (firstSeq: number, endSeq: number, most: number): Promise<readonly StreamMessage[]> => {
      const info = await open({
        filter_subject: filter,
        headers_only: headersOnly,
        deliver_policy: DeliverPolicy.StartSequence,
        opt_start_seq: firstSeq,
      });
      came = [];
      const batch = Math.min(most, endSeq - firstSeq + 1);
      const end = await new Promise<PullEnd>((resolve) => puller.pull({ consumer: info.name, batch, ended: resolve }));
      forget(info);
      if (end === "gone") throw new Error("the server did not hand out what it has");
      // What has come since the reading began, or belongs to the window after.
      return came.filter(({ seq }) => seq <= endSeq);
    },
  };
};

type OpenStream = Awaited<ReturnType<typeof openStream>>;

/** What is still to be read, by its numbers. */
interface Range {
  readonly firstSeq: number;
  readonly endSeq: number;
}

/** The last part of a range: as far back as `span` says, less where more than `most` messages match. */
const readWindow = async (
  stream: OpenStream,
  { firstSeq, endSeq }: Range,
  span: number,
  most: number,
): Promise<{ readonly seq: number; readonly messages: readonly StreamMessage[] }> => {
  for (let width = span; ; width = Math.floor(width / 4)) {
    const seq = Math.max(firstSeq, endSeq - width + 1);
    const messages = await stream.read(seq, endSeq, most + 1);
    if (messages.length <= most) return { seq, messages };
  }
};

const wholeRange = async (stream: OpenStream, { since, until }: BackOptions): Promise<Range> => {
  const firstSeq = await stream.locate(since);
  const lastSeq = await stream.lastSeq();
  return { firstSeq, endSeq: until ? Math.min(lastSeq, (await stream.locate(until)) - 1) : lastSeq };
};

async function* readWindows(stream: OpenStream, options: BackOptions): AsyncGenerator<readonly StreamMessage[], void> {
  const most = options.windowMessages ?? defaultWindow;
  let range = await wholeRange(stream, options);
  for (let span = Math.min(firstSpan, most); range.endSeq >= range.firstSeq;) {
    const { seq, messages } = await readWindow(stream, range, span, most);
    const width = range.endSeq - seq + 1;
    span = messages.length === 0 ? width * emptyGrowth : messages.length * 2 <= most ? width * 2 : width;
    range = { firstSeq: range.firstSeq, endSeq: seq - 1 };
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
  let stream: OpenStream | undefined;
  try {
    stream = await openStream(bus, options);
    yield* readWindows(stream, options);
  } catch (cause) {
    throw asBusError(`could not read stream ${options.stream.name}`, cause);
  } finally {
    stream?.close();
  }
}
