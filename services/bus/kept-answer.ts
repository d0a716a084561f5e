import type { MsgHdrs } from "nats";
import { BuskerError } from "../../schemas/errors.ts";
import { type ResponseHead, wireHeaders } from "../../schemas/invocation.ts";
import { decodeAttribute, encodeAttribute } from "./cloud-events.ts";
import { abortError, decodeFrame, frameLine } from "./frames.ts";
import { HeaderBlock, headerLine, headerValue } from "./headers.ts";
import { decodeReply } from "./invocation-wire.ts";

/** What is kept of an answer besides its events. */
export interface KeptHead {
  readonly callId: string;
  readonly head: ResponseHead;
  /** The call's deadline, milliseconds since the epoch. */
  readonly deadlineMs: number;
  /** Which replica answers. */
  readonly replica: string;
}

/** A part of a kept answer: an event, or how it ended. */
export type KeptPart =
  | { readonly kind: "event"; readonly number: number; readonly data: Uint8Array }
  | { readonly kind: "end"; readonly number: number }
  | { readonly kind: "abort"; readonly number: number; readonly error: BuskerError };

/** The header block of a kept answer's head. */
export const encodeKeptHead = ({ callId, head, deadlineMs, replica }: KeptHead): MsgHdrs =>
  HeaderBlock.of(
    `${frameLine("head", 0)}ce-id: ${encodeAttribute(callId)}\r\n${headerLine(wireHeaders.replica, replica)}` +
      `${wireHeaders.deadline}: ${deadlineMs}\r\n${wireHeaders.http}: ${JSON.stringify(head)}\r\n`,
  );

// A function that holds its replica's credentials writes its own: no part is taken on trust.
const unreadable = (what: string, cause?: unknown): BuskerError =>
  new BuskerError("internal", `the kept answer is broken: ${what}`, { cause });

/** Reads a head; throws `internal` when it is none that could be written to a client. */
export const decodeKeptHead = (headers: string): KeptHead => {
  const deadlineMs = Number(headerValue(headers, wireHeaders.deadline));
  const replica = headerValue(headers, wireHeaders.replica) ?? "";
  if (!Number.isSafeInteger(deadlineMs) || !/^[A-Za-z0-9_-]{1,128}$/.test(replica))
    throw unreadable("its head must name a deadline and a replica");
  try {
    const { head } = decodeReply(headers);
    return { callId: decodeAttribute(headerValue(headers, "ce-id") ?? ""), head, deadlineMs, replica };
  } catch (cause) {
    throw unreadable("its head is not valid HTTP", cause);
  }
};

/** Reads a part; throws `internal` when it is none. */
export const decodeKeptPart = (headers: string, data: Uint8Array): KeptPart => {
  const { kind, number = 0 } = decodeFrame(headers) ?? {};
  if (kind === "data") return { kind: "event", number, data };
  if (kind === "end") return { kind, number };
  if (kind === "abort") return { kind, number, error: abortError(headers, { data }) };
  throw unreadable("a part is of a kind that this version does not know");
};
