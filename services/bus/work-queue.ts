import { AckPolicy, DeliverPolicy, jetstreamManager } from "@nats-io/jetstream";
import { nanos } from "nats";
import type { StreamDefinition } from "../../schemas/topology.ts";
import type { Bus } from "./connection.ts";
import { type HeaderBearer, headerText } from "./headers.ts";
import { asBusError, isMissing, isNoMessage } from "./jetstream-errors.ts";

/** One consumer of a work queue: several processes that make the same one share it. */
export interface QueueConsumer {
  readonly name: string;
  /** The one subject whose messages it hands out. */
  readonly subject: string;
  /** How long a silent holder keeps a message. */
  readonly leaseMs: number;
}

/** The oldest message on some subjects. */
export interface OldestMessage {
  /** Its header block as text. */
  readonly headers: string;
  /** When the stream got it, milliseconds since the epoch. */
  readonly storedMs: number;
}

/** Says of a message whether what it asks for is done, and all that follows from it. */
export type IsOver = (
  message: { readonly subject: string; readonly data: Uint8Array } & HeaderBearer,
) => Promise<boolean>;

/** A stream with work-queue retention as those see it who do the work. All reject with `bus_unavailable`. */
export interface WorkQueue {
  /** Makes a consumer that is missing. One that nobody asks for five minutes goes by itself, and takes no message with it. */
  readonly ensureConsumer: (consumer: QueueConsumer) => Promise<void>;
  /**
   * Takes out messages that a consumer has acknowledged and that are there nevertheless; gives how many there were. A server that was
   * killed may have kept that a message was acknowledged and not that it therefore went (seen on 2.9.10: the last two
   * seconds' worth): such messages are handed out to nobody, and never go. Those that were acknowledged out of turn the
   * server does not tell from those that are out: of them `isOver` says which.
   */
  readonly dropAcknowledged: (consumer: QueueConsumer, isOver?: IsOver) => Promise<number>;
  /** Messages of each subject that has some. */
  readonly countBySubject: () => Promise<ReadonlyMap<string, number>>;
  /** The oldest on the subjects that a filter matches; undefined when there is none. */
  readonly findOldest: (filter: string) => Promise<OldestMessage | undefined>;
}

// At a time: those that are put off are looked at each time.
const mostLooked = 2000;

const inactiveMs = 5 * 60_000;

/** Opens a work queue. */
export const openWorkQueue = async (bus: Bus, stream: StreamDefinition): Promise<WorkQueue> => {
  const manager = await jetstreamManager(bus.nc, { checkAPI: false });
  return {
    ensureConsumer: async ({ name, subject, leaseMs }) => {
      bus.assertConnected();
      try {
        await manager.consumers.add(stream.name, {
          durable_name: name,
          ack_policy: AckPolicy.Explicit,
          deliver_policy: DeliverPolicy.All,
          filter_subject: subject,
          ack_wait: nanos(leaseMs),
          // Calls put off are out as well: they must not keep others from being handed out.
          max_ack_pending: -1,
          inactive_threshold: nanos(inactiveMs),
        });
      } catch (cause) {
        throw asBusError(`could not make consumer ${name} of stream ${stream.name}`, cause);
      }
    },
    dropAcknowledged: async ({ name, subject }, isOver = async () => false) => {
      bus.assertConnected();
      let dropped = 0;
      try {
        const {
          ack_floor,
          delivered,
          num_ack_pending: out,
          num_pending: next,
        } = await manager.consumers.info(stream.name, name);
        const { state } = await manager.streams.info(stream.name, { subjects_filter: subject });
        const there = Object.values(state.subjects ?? {}).reduce((sum, count) => sum + count, 0);
        if (there <= out + next) return 0;
        // The floor of one that was restored stays behind at times, with nothing out at all.
        const overSeq = out === 0 ? delivered.stream_seq : ack_floor.stream_seq;
        for (let seq = 1, looked = 0; looked < mostLooked; looked += 1) {
          const found = await manager.direct.getMessage(stream.name, { seq, next_by_subj: subject });
          if (!found || found.seq > delivered.stream_seq) break;
          seq = found.seq + 1;
          const message = { subject: found.subject, data: found.data, headers: found.header };
          if (found.seq > overSeq && !(await isOver(message))) continue;
          // One by one: to purge by subject is said to all consumers of the stream, those of other subjects among them.
          await manager.streams.deleteMessage(stream.name, found.seq, false);
          dropped += 1;
        }
        return dropped;
      } catch (cause) {
        if (isNoMessage(cause) || isMissing(cause)) return dropped;
        throw asBusError(`could not take out what consumer ${name} of stream ${stream.name} is done with`, cause);
      }
    },
    countBySubject: async () => {
      bus.assertConnected();
      try {
        const { state } = await manager.streams.info(stream.name, { subjects_filter: ">" });
        return new Map(Object.entries(state.subjects ?? {}));
      } catch (cause) {
        throw asBusError(`could not read what waits in stream ${stream.name}`, cause);
      }
    },
    findOldest: async (filter) => {
      bus.assertConnected();
      try {
        const found = await manager.direct.getMessage(stream.name, { seq: 1, next_by_subj: filter });
        return found === null
          ? undefined
          : { headers: headerText({ headers: found.header }), storedMs: found.time.getTime() };
      } catch (cause) {
        if (isNoMessage(cause)) return undefined;
        throw asBusError(`could not read the oldest message of ${filter}`, cause);
      }
    },
  };
};
