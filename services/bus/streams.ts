import { jetstream } from "@nats-io/jetstream";
import type { EventType } from "../../schemas/events.ts";
import type { Bus } from "./connection.ts";
import { encodeEvent, type Publication } from "./events.ts";
import { asBusError } from "./jetstream-errors.ts";

export { consumeDurably, type Disposition } from "./consume.ts";
export { readStream, type StreamMessage } from "./read-stream.ts";

const ackMs = 5000;

/**
 * Publishes an event and waits until its stream has it. Repeats with the same id are swallowed. Throws
 * `bus_unavailable` when no stream says so: it may have it nevertheless, so whoever repeats gives the id. Gives the
 * event's id.
 */
export const publishDurably = async <T extends EventType>(bus: Bus, event: Publication<T>): Promise<string> => {
  bus.assertConnected();
  // The message id stands in the headers already, and the library adds none to a block that it cannot read.
  const { id, headers, payload } = encodeEvent(bus.source, event);
  try {
    await jetstream(bus.nc).publish(event.subject, payload, { headers, timeout: ackMs });
  } catch (cause) {
    throw asBusError(`no stream has acknowledged ${event.subject}`, cause);
  }
  return id;
};
