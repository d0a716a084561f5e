import { randomUUID } from "node:crypto";
import type { Msg, MsgHdrs } from "nats";
import type { EventData, EventType } from "../../schemas/events.ts";
import { BuskerError } from "../../schemas/errors.ts";
import { encodeAttribute, fromMessage, type WireEvent } from "./cloud-events.ts";
import type { Bus } from "./connection.ts";
import { type HeaderBearer, HeaderBlock } from "./headers.ts";

/** An event to publish: where, which type, and its data. */
export interface Publication<T extends EventType> {
  readonly subject: string;
  readonly type: T;
  readonly data: EventData[T];
  /** `ce-id`; made where absent. Doubles as message id, so that a stream swallows a repeat. */
  readonly id?: string;
  /** Where answers to it are taken. */
  readonly reply?: string;
}

/** An event as read from the bus. */
export interface ReceivedEvent<T extends EventType> {
  readonly id: string;
  readonly subject: string;
  readonly data: EventData[T];
}

/** The headers and payload of an event with JSON data, in binary mode. */
export const encodeEvent = <T extends EventType>(
  source: string,
  event: Publication<T>,
): { readonly id: string; readonly headers: MsgHdrs; readonly payload: string } => {
  const id = event.id ?? randomUUID();
  const encoded = encodeAttribute(id);
  const lines =
    `ce-specversion: 1.0\r\nce-type: ${event.type}\r\nce-source: ${source}\r\nce-id: ${encoded}\r\n` +
    `ce-time: ${new Date().toISOString()}\r\nce-datacontenttype: application/json\r\nNats-Msg-Id: ${encoded}\r\n`;
  return { id, headers: HeaderBlock.of(lines), payload: JSON.stringify(event.data) };
};

/** Publishes without waiting: a stream on the subject keeps it, but nobody says so. Gives the event's id. */
export const publishEvent = <T extends EventType>(bus: Bus, event: Publication<T>): string => {
  const { id, headers, payload } = encodeEvent(bus.source, event);
  bus.nc.publish(event.subject, payload, event.reply === undefined ? { headers } : { headers, reply: event.reply });
  return id;
};

/** Reads an event. Throws `invalid_request` when its data is not JSON; that it has its type's shape is the sender's word. */
export const readEvent = <T extends EventType>(
  message: Pick<Msg, "subject" | "data"> & HeaderBearer,
): ReceivedEvent<T> => {
  const event: WireEvent = fromMessage(message);
  try {
    return {
      id: event.attributes["id"] ?? "",
      subject: message.subject,
      data: JSON.parse(Buffer.from(event.data).toString("utf8")) as EventData[T],
    };
  } catch (cause) {
    throw new BuskerError("invalid_request", `the event on ${message.subject} must carry JSON`, { cause });
  }
};
