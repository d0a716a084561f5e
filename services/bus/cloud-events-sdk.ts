import { CloudEvent, ValidationError } from "cloudevents";
import { BuskerError } from "../../schemas/errors.ts";
import { fromStructured, structuredData, type WireEvent } from "./cloud-events.ts";

/*
 * The SDK validates and converts at the edges, never on the hot path; it stands in a file of its own, so that the
 * watchdog does not load it.
 */

/** Converts to the SDK's class, which checks the event. Throws `invalid_request` naming what is wrong. */
export const toCloudEvent = (event: WireEvent): CloudEvent<unknown> => {
  try {
    const { data, data_base64: base64 } = structuredData(event);
    const body = base64 === undefined ? { data } : { data_base64: base64 };
    return new CloudEvent<unknown>({ ...event.attributes, ...body } as never, true);
  } catch (cause) {
    const detail = cause instanceof ValidationError ? JSON.stringify(cause.errors ?? cause.message) : String(cause);
    throw new BuskerError("invalid_request", `not a valid CloudEvent: ${detail}`, { cause });
  }
};

/** Converts from the SDK's class. */
export const fromCloudEvent = (event: CloudEvent<unknown>): WireEvent =>
  fromStructured(Buffer.from(JSON.stringify(event.toJSON())));
