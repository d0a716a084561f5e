import { jetstreamManager } from "@nats-io/jetstream";
import type { CallRecord } from "../../schemas/call.ts";
import { BuskerError } from "../../schemas/errors.ts";
import { resultSubject } from "../../schemas/subjects.ts";
import { streams } from "../../schemas/topology.ts";
import type { AcknowledgedPublisher } from "./acknowledged.ts";
import { decodeRecord, encodeRecord, type WholeRecord } from "./call-record-wire.ts";
import type { Bus } from "./connection.ts";
import { asBusError, isNoMessage } from "./jetstream-errors.ts";

/** A record as it was found, and where it stands. */
export interface FoundRecord extends WholeRecord {
  /** What the next write expects. */
  readonly seq: number;
}

/** The records of durable calls: stream RESULTS, the newest of each. */
export interface CallRecords {
  /** Undefined when there is none, or it has expired. Rejects with `bus_unavailable` when it cannot be read now. */
  readonly read: (id: string) => Promise<FoundRecord | undefined>;
  /**
   * Writes over what was found under `seq`, 0 for nothing; rejects with `conflict` when somebody was faster. Gives the new `seq`.
   */
  readonly write: (whole: WholeRecord, seq: number) => Promise<number>;
}

const isConflict = (cause: unknown): boolean => cause instanceof BuskerError && cause.code === "conflict";

const isExpired = ({ expiresMs }: CallRecord): boolean => expiresMs !== undefined && Date.now() >= expiresMs;

/** Opens the records. */
export const openCallRecords = async (bus: Bus, acknowledged: AcknowledgedPublisher): Promise<CallRecords> => {
  const { direct } = await jetstreamManager(bus.nc, { checkAPI: false });
  const find = async (id: string): Promise<FoundRecord | undefined> => {
    bus.assertConnected();
    try {
      const message = await direct.getMessage(streams.RESULTS.name, { last_by_subj: resultSubject(id) });
      return message
        ? { ...decodeRecord({ data: message.data, headers: message.header }), seq: message.seq }
        : undefined;
    } catch (cause) {
      if (isNoMessage(cause)) return undefined;
      throw asBusError(`could not read the record of call ${id}`, cause);
    }
  };
  const write = async (whole: WholeRecord, seq: number): Promise<number> => {
    const { headers, payload } = encodeRecord(bus.source, whole, `Nats-Expected-Last-Subject-Sequence: ${seq}\r\n`);
    return (await acknowledged.publish(resultSubject(whole.record.id), payload, headers)).seq;
  };
  return {
    read: async (id) => {
      const found = await find(id);
      return found && !isExpired(found.record) ? found : undefined;
    },
    write: async (whole, seq) => {
      try {
        return await write(whole, seq);
      } catch (cause) {
        // One that has expired and is still there is nothing to whoever found nothing.
        const old = seq === 0 && isConflict(cause) ? await find(whole.record.id) : undefined;
        if (!old || !isExpired(old.record)) throw cause;
        return write(whole, old.seq);
      }
    },
  };
};
