import { BuskerError } from "../../schemas/errors.ts";
import { decodeReply, type ReceivedReply } from "./invocation-wire.ts";
import type { CallResult, OpenCall } from "./open-call.ts";

/** The end of a call whose replica is gone. */
export const lost = (replica: string, reason: string | undefined): BuskerError =>
  new BuskerError(
    "replica_lost",
    `replica ${replica} went away in the middle of the call${reason ? `: ${reason}` : ""}`,
  );

// A shorter wait explains nothing.
const toldWaitMs = 100;

/** The end of a call at its deadline, and how much of its time it waited in line. */
export const overdue = ({ deadlineMs, sinceMs, bound }: OpenCall, waitedMs = bound?.waitedMs ?? 0): BuskerError => {
  const waited =
    waitedMs < toldWaitMs ? "" : `, of which it waited ${inSeconds(waitedMs)} in line for a replica with a free slot`;
  const whole = inSeconds(deadlineMs - sinceMs);
  return new BuskerError("deadline_exceeded", `the function did not answer within the call's ${whole}${waited}`);
};

/** What a reply means to the caller. A replica that stops a call at its deadline does not know how long it waited before. */
export const readAnswer = (call: OpenCall, waitedMs: number, reply: ReceivedReply, body: Uint8Array): CallResult =>
  reply.error === "deadline_exceeded" && waitedMs >= toldWaitMs
    ? { kind: "failed", error: overdue(call, waitedMs) }
    : { kind: "answered", reply, body };

/** The end of a call whose replica speaks a later version. */
export const badFrame = (replica: string): BuskerError =>
  new BuskerError("internal", `replica ${replica} sent a part of a body of a kind that this version does not know`);

/** A duration for people. */
export const inSeconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

const unreadable = {
  head: { status: 502, headers: [] },
  error: "function_unreachable",
  inFlight: 0,
  slots: 0,
  offer: false,
} as const;

/** Reads a reply; one that cannot be read is the answer of a function that does not speak HTTP. */
export const readReply = (headers: string, isUpgrade = false): ReceivedReply => {
  try {
    return decodeReply(headers, isUpgrade);
  } catch {
    return unreadable;
  }
};
