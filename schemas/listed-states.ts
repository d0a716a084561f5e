import { type RecordState, recordStates } from "./call.ts";

/**
 * How a call is listed: a durable one by its record's state. A synchronous one has `succeeded` with a status below 400, and
 * `failed` with any other: nothing is left of it that could be called dead.
 */
export const listedStates = [...recordStates, "failed"] as const;
export type ListedState = RecordState | "failed";

/** Calls that are queued until they are done, and those whose caller waits. */
export const callKinds = ["durable", "sync"] as const;
export type CallKind = (typeof callKinds)[number];
