import { CloudEvent, ValidationError } from "cloudevents";
import { BuskerError } from "../../schemas/errors.ts";
import { fromStructured, structuredData, type WireEvent } from "./cloud-events.ts";

/*
 * The SDK validates and converts at the edges, never on the hot path; it stands in a file of its own, so that the
 * watchdog does not load it.
 */

const required = ["specversion", "id", "source", "type"] as const;

// The SDK invents an id and a version where there is none, so that reading twice would give two events.
const checkRequired = ({ attributes }: WireEvent): void => {
  const missing = required.filter((name) => !attributes[name]);
  if (missing.length > 0)
    throw new BuskerError(
      "invalid_request",
      `not a valid CloudEvent: it must have ${required.join(", ")}; ${missing.join(", ")} not given`,
    );
  if (attributes["specversion"] !== "1.0")
    throw new BuskerError(
      "invalid_request",
      `not a valid CloudEvent: specversion must be 1.0; got ${JSON.stringify(attributes["specversion"])}`,
    );
};

/**
 * Converts to the SDK's class, which checks the event and gives it the present time where it has none. Throws
 * `invalid_request` naming what is wrong.
 */
export const toCloudEvent = (event: WireEvent): CloudEvent<unknown> => {
  checkRequired(event);
  try {
    const { data, data_base64: base64 } = structuredData(event);
    const body = base64 === undefined ? { data } : { data_base64: base64 };
    return new CloudEvent<unknown>({ ...event.attributes, ...body } as never, true);
  } catch (cause) {
    const detail = cause instanceof ValidationError ? JSON.stringify(cause.errors ?? cause.message) : String(cause);
    throw new BuskerError("invalid_request", `not a valid CloudEvent: ${detail}`, { cause });
  }
};

/** Converts from the SDK's class. Throws `invalid_request` when its data is not what its datacontenttype says. */
export const fromCloudEvent = (event: CloudEvent<unknown>): WireEvent => {
  // Not by its toJSON(), which cuts times to milliseconds.
  const { data, ...members } = event;
  const hasBase64 = typeof members.data_base64 === "string" && members.data_base64 !== "";
  return fromStructured(Buffer.from(JSON.stringify(hasBase64 ? members : { ...members, data })));
};
