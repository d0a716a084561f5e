import { JetStreamApiError } from "@nats-io/jetstream";
import { BuskerError } from "../../schemas/errors.ts";

// The server's words (errors.json of nats-server).
const wrongLastSequence = 10_071;
const streamNotFound = 10_059;
const consumerNotFound = 10_014;

/** Tells whether the server refused a write because the revision had changed. */
export const isWrongRevision = (error: unknown): boolean =>
  error instanceof JetStreamApiError && error.code === wrongLastSequence;

/** Tells whether the server says that there is no such stream or consumer. */
export const isMissing = (error: unknown): boolean =>
  error instanceof JetStreamApiError && (error.code === streamNotFound || error.code === consumerNotFound);

/** The error for something that JetStream did not do: `bus_unavailable` with its own words; a BuskerError stays as it is. */
export const asBusError = (what: string, cause: unknown): BuskerError => {
  if (cause instanceof BuskerError) return cause;
  const reason = cause instanceof Error ? cause.message : String(cause);
  if (reason.includes("max_payload")) return new BuskerError("body_too_large", `${what}: ${reason}`, { cause });
  return new BuskerError("bus_unavailable", `${what}: ${reason}`, { cause });
};
