import { setTimeout as pause } from "node:timers/promises";
import { AckPolicy, DeliverPolicy, jetstreamManager } from "@nats-io/jetstream";
import { nanos } from "nats";
import type { StreamDefinition } from "../../schemas/topology.ts";
import type { Bus } from "./connection.ts";
import { headerText } from "./headers.ts";
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

/** A stream with work-queue retention as those see it who do the work. All reject with `bus_unavailable`. */
export interface WorkQueue {
  /** Makes a consumer that is missing. One that nobody asks for five minutes goes by itself, and takes no message with it. */
  readonly ensureConsumer: (consumer: QueueConsumer) => Promise<void>;
  /**
   * Removes a consumer that has forgotten some of its messages, so that they are all handed out again by the one that is made
   * next; gives whether it has. A server that was killed may come back with a consumer that takes messages for delivered
   * or acknowledged which are neither, or which were acknowledged and are there nevertheless (both seen on 2.9.10): it hands them out to
   * nobody, and they never go. What is handed out then may be done already, or be in somebody's hands.
   */
  readonly removeForgetful: (consumer: QueueConsumer) => Promise<boolean>;
  /** Messages of each subject that has some. */
  readonly countBySubject: () => Promise<ReadonlyMap<string, number>>;
  /** The oldest on the subjects that a filter matches; undefined when there is none. */
  readonly findOldest: (filter: string) => Promise<OldestMessage | undefined>;
}

// What is on its way between two questions to the server looks forgotten once, and not again and again.
const looks = 4;
const lookAgainMs = 500;

const inactiveMs = 5 * 60_000;

/** Opens a work queue. */
export const openWorkQueue = async (bus: Bus, stream: StreamDefinition): Promise<WorkQueue> => {
  const manager = await jetstreamManager(bus.nc, { checkAPI: false });
  const count = async (subject: string): Promise<number> => {
    const { state } = await manager.streams.info(stream.name, { subjects_filter: subject });
    return Object.values(state.subjects ?? {}).reduce((sum, messages) => sum + messages, 0);
  };
  const oldestSeq = async (subject: string): Promise<number | undefined> =>
    (await manager.direct.getMessage(stream.name, { seq: 1, next_by_subj: subject }))?.seq;
  /**
   * The oldest message, where the consumer takes it for acknowledged, or where there are more messages than it has handed out and
   * has still to hand out. (What it says to be out may be gone from the stream as well.)
   */
  const forgottenSeq = async ({ name, subject }: QueueConsumer): Promise<number | undefined> => {
    const before = await count(subject);
    if (before === 0) return undefined;
    const seq = await oldestSeq(subject);
    const {
      num_pending: next,
      num_ack_pending: out,
      ack_floor: floor,
    } = await manager.consumers.info(stream.name, name);
    if (seq !== undefined && seq <= floor.stream_seq) return seq;
    return before > out + next && (await count(subject)) === before ? seq : undefined;
  };
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
    removeForgetful: async (consumer) => {
      bus.assertConnected();
      try {
        const oldest = await forgottenSeq(consumer);
        for (let look = 1; oldest !== undefined && look < looks; look += 1) {
          await pause(lookAgainMs);
          if ((await forgottenSeq(consumer)) !== oldest) return false;
        }
        return oldest !== undefined && (await manager.consumers.delete(stream.name, consumer.name));
      } catch (cause) {
        if (isNoMessage(cause) || isMissing(cause)) return false;
        throw asBusError(`could not look after consumer ${consumer.name} of stream ${stream.name}`, cause);
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
