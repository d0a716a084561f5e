import { BuskerError } from "../../schemas/errors.ts";
import { maxBodyBytes } from "../../schemas/topology.ts";
import { encodeAttribute, type WireEvent } from "./cloud-events.ts";
import type { Bus } from "./connection.ts";
import { HeaderBlock, headerLine } from "./headers.ts";
import { asBusError } from "./jetstream-errors.ts";

/** Puts an event on a subject that is none of the platform's. */
export type PublishForeign = (subject: string, event: WireEvent, messageId: string) => Promise<void>;

/**
 * Opens a publisher of CloudEvents in binary mode on a connection of the user `outcomes`, whom the server keeps off the
 * platform's subjects. It resolves when the server has the message; who listens then has it, and a stream on the subject swallows a
 * repeat with the same message id. Rejects with `bus_unavailable`, and with `body_too_large` when the data does not fit a message.
 */
export const openForeignPublisher =
  (bus: Bus): PublishForeign =>
  async (subject, { attributes, data }, messageId) => {
    bus.assertConnected();
    if (data.length > maxBodyBytes)
      throw new BuskerError(
        "body_too_large",
        `an event on ${subject} may have ${maxBodyBytes} bytes of data; it has ${data.length}`,
      );
    const lines = Object.entries(attributes).map(([name, value]) => headerLine(`ce-${name}`, encodeAttribute(value)));
    const headers = HeaderBlock.of(`${lines.join("")}Nats-Msg-Id: ${messageId}\r\n`);
    try {
      bus.nc.publish(subject, data, { headers });
      await bus.nc.flush();
    } catch (cause) {
      throw asBusError(`could not publish on ${subject}`, cause);
    }
  };
