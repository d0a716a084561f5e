import type { Msg, MsgHdrs } from "nats";
import type { BuskerError } from "../../schemas/errors.ts";
import type { ReplicaControl } from "../../schemas/invocation.ts";
import type { BagItem } from "./bag.ts";
import type { IncomingBody } from "./body-receiver.ts";
import type { BodySink } from "./body-sender.ts";
import type { CallStream } from "./call-stream.ts";
import type { ReceivedReply } from "./invocation-wire.ts";
import type { Place } from "./line.ts";
import type { ReplicaSlots } from "./slot-table.ts";
import type { WindowShare } from "./window-share.ts";

/** How a call ended, as its caller learns it. */
export type CallResult =
  | { readonly kind: "answered"; readonly reply: ReceivedReply; readonly body: Uint8Array }
  /** The head and the first bytes; `rest` tells the end, which may be an error. Only to callers that take it. */
  | {
      readonly kind: "streaming";
      readonly reply: ReceivedReply;
      readonly body: Uint8Array;
      readonly rest: IncomingBody;
    }
  | { readonly kind: "failed"; readonly error: BuskerError };

interface Binding {
  readonly replica: ReplicaSlots;
  readonly token: number;
  readonly sequence: number;
  /** How long the call waited in line before. */
  readonly waitedMs: number;
}

/** A call on its way. */
export interface OpenCall extends BagItem {
  readonly callId: string;
  readonly headers: MsgHdrs;
  readonly body: Uint8Array;
  readonly deadlineMs: number;
  readonly sinceMs: number;
  readonly done: (result: CallResult) => void;
  /** Told the replica that the call is sent to, each time. */
  readonly onBound: ((replica: string) => void) | undefined;
  /** First credit for the answer, in bytes; 0: the caller takes a whole one only. */
  readonly windowBytes: number;
  /** Writes the rest of a streamed request, begun when the replica grants the first credit; undefined for a whole one. */
  readonly upload: ((sink: BodySink) => void) | undefined;
  /** The caller takes an answer that is kept. */
  readonly keepsEvents: boolean;
  /** The answer is kept: it goes on without this caller. */
  isKept: boolean;
  /** Its request asks for a WebSocket: a streamed answer may have status 101. */
  readonly isUpgrade: boolean;
  /** What makes this call a stream, from its first frame on. */
  stream: CallStream | undefined;
  /** Nobody waits for the answer any more; the slot is still taken until the replica says so. */
  abandoned: boolean;
  place: Place<OpenCall> | undefined;
  bound: Binding | undefined;
}

/** What the calls of one function need of the world; a test passes a literal. */
export interface CallTransport {
  /** Sends a call to a replica and hands every reply to `listener`. Gives the token to forget it by. */
  readonly request: (subject: string, headers: MsgHdrs, body: Uint8Array, listener: (message: Msg) => void) => number;
  /** Sends a control message, its answers to the subject given. */
  readonly control: (subject: string, message: ReplicaControl, reply?: string) => void;
  /** Sends a frame to a streamed call. */
  readonly frame: (subject: string, headers: MsgHdrs, payload: Uint8Array) => void;
  /** The share of memory that one more stream may take. */
  readonly windows: WindowShare;
  /** `isAnswered` says that the one reply expected has come, and nothing more will. */
  readonly forget: (token: number, isAnswered: boolean) => void;
  /** A reply subject for as long as this function is known, for offers and pings. */
  readonly standingReply: (listener: (message: Msg) => void) => { readonly token: number; readonly subject: string };
  /** Says that so many calls want a replica. The provider answers to the subject given when there is no such function. */
  readonly demand: (waiting: number, reply: string) => void;
  /** A call has been put in line, as the last of so many. */
  readonly parked: (waiting: number) => void;
  /** Says that a slot may have become free, or that nobody waits for one any more. */
  readonly moved: () => void;
  readonly nowMs: () => number;
  readonly random: () => number;
}

/** What is known of one function's calls at one caller. */
export interface CallCounts {
  readonly waiting: number;
  /** How long the first of those has waited; 0 when none does. */
  readonly oldestWaitMs: number;
  readonly inFlight: number;
  readonly readyReplicas: number;
}

/** Bounds of a line. */
export interface LineLimits {
  readonly maxCalls: number;
  readonly maxBytes: number;
}

/** Messages beside request and reply, for the bench: what late binding costs. */
export interface SideMessages {
  reserve: number;
  withdraw: number;
  offer: number;
  busy: number;
}
