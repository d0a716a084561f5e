import { JetStreamApiError } from "@nats-io/jetstream";
import { BuskerError } from "../../schemas/errors.ts";

// The server's words (errors.json of nats-server).
export const wrongLastSequence = 10_071;
const streamNotFound = 10_059;
const consumerNotFound = 10_014;
const messageNotFound = 10_037;

/** Codes that say that a stream has no room: its own limit is reached, its account's, or the disk's. */
export const storageFull: ReadonlySet<number> = new Set([10_077, 10_047, 10_023, 10_002, 10_028]);

/** Tells whether the server refused a write because the revision had changed. */
export const isWrongRevision = (error: unknown): boolean =>
  error instanceof JetStreamApiError && error.code === wrongLastSequence;

/** Tells whether the server says that there is no such stream or consumer. */
export const isMissing = (error: unknown): boolean =>
  error instanceof JetStreamApiError && (error.code === streamNotFound || error.code === consumerNotFound);

/** Tells whether the server says that a stream has no such message. */
export const isNoMessage = (error: unknown): boolean =>
  error instanceof JetStreamApiError && error.code === messageNotFound;

/** The error for something that JetStream did not do: `bus_unavailable` with its own words; a BuskerError stays as it is. */
export const asBusError = (what: string, cause: unknown): BuskerError => {
  if (cause instanceof BuskerError) return cause;
  const reason = cause instanceof Error ? cause.message : String(cause);
  if (reason.includes("max_payload")) return new BuskerError("body_too_large", `${what}: ${reason}`, { cause });
  return new BuskerError("bus_unavailable", `${what}: ${reason}`, { cause });
};
