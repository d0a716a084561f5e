import { AckPolicy, DeliverPolicy, jetstreamManager } from "@nats-io/jetstream";
import { nanos } from "nats";
import type { StreamDefinition } from "../../schemas/topology.ts";
import type { Bus } from "./connection.ts";
import { headerText } from "./headers.ts";
import { asBusError, isNoMessage } from "./jetstream-errors.ts";

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
  /** Messages of each subject that has some. */
  readonly countBySubject: () => Promise<ReadonlyMap<string, number>>;
  /** The oldest on the subjects that a filter matches; undefined when there is none. */
  readonly findOldest: (filter: string) => Promise<OldestMessage | undefined>;
}

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
