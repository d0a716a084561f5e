import { jetstreamManager } from "@nats-io/jetstream";
import type { StreamDefinition } from "../../schemas/topology.ts";
import type { Bus } from "./connection.ts";
import type { HeaderBearer } from "./headers.ts";
import { asBusError, isNoMessage } from "./jetstream-errors.ts";

/** The newest message of a subject. */
export interface LastMessage extends HeaderBearer {
  readonly subject: string;
  readonly data: Uint8Array;
  /** Its number in the stream. */
  readonly seq: number;
  /** When the stream got it, milliseconds since the epoch. */
  readonly storedMs: number;
}

/**
 * The newest message of a stream on a subject, which may be a pattern; undefined when there is none. Rejects with
 * `bus_unavailable` when it cannot be read now.
 */
export const readLast = async (
  bus: Bus,
  stream: Pick<StreamDefinition, "name">,
  subject: string,
): Promise<LastMessage | undefined> => {
  bus.assertConnected();
  try {
    const { direct } = await jetstreamManager(bus.nc, { checkAPI: false });
    const message = await direct.getMessage(stream.name, { last_by_subj: subject });
    if (!message) return undefined;
    const { data, seq, header: headers, time } = message;
    return { subject: message.subject, data, seq, headers, storedMs: time.getTime() };
  } catch (cause) {
    if (isNoMessage(cause)) return undefined;
    throw asBusError(`could not read the newest message of ${subject}`, cause);
  }
};

/** The number of a stream's newest message. Rejects with `bus_unavailable` when the stream cannot be asked now. */
export const readLastSeq = async (bus: Bus, stream: StreamDefinition): Promise<number> => {
  bus.assertConnected();
  try {
    const { streams } = await jetstreamManager(bus.nc, { checkAPI: false });
    return (await streams.info(stream.name)).state.last_seq;
  } catch (cause) {
    throw asBusError(`could not look at stream ${stream.name}`, cause);
  }
};
