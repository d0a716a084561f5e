import type { ErrorCode } from "./errors.ts";
import type { RequestHead, ResponseHead } from "./invocation.ts";
import type { FunctionName } from "./names.ts";
import type { Priority } from "./subjects.ts";

/** Where a durable call stands. It ends in exactly one of the last three. */
export const recordStates = ["queued", "running", "retrying", "succeeded", "dead", "cancelled"] as const;
export type RecordState = (typeof recordStates)[number];

/** How a durable call may end. */
export const finalStates = ["succeeded", "dead", "cancelled"] as const;
export type FinalState = (typeof finalStates)[number];

/** Whether a call in this state is over. */
export const isFinal = (state: RecordState): state is FinalState => finalStates.some((final) => final === state);

/** Why something about a call failed. */
export interface CallError {
  readonly code: ErrorCode;
  readonly message: string;
}

/** One try of a durable call. Times in milliseconds since the epoch. */
export interface Attempt {
  /** 1, 2, 3 … */
  readonly number: number;
  readonly startedMs: number;
  /** Absent while it runs, and for ever when its queue-worker died. */
  readonly endedMs?: number;
  /** What the function answered. */
  readonly status?: number;
  /** Why there is no answer of the function. */
  readonly error?: CallError;
  /** The function was never reached: it does not count against the attempts that there may be. */
  readonly isFree?: boolean;
}

/** A body that is kept somewhere. */
export interface KeptBody {
  readonly bytes: number;
  /**
   * Where: `here`, behind the record in the same message; `payload`, in store `payloads` under `name`; `parts`, in stream
   * PARTS, under the call's id and the attempt's number; `none`: not any more, or nobody recorded it.
   */
  readonly place: "here" | "payload" | "parts" | "none";
  /** Of a payload: its name; of parts: the attempt's number. */
  readonly name?: string;
}

/**
 * What is known of one durable call, as stream RESULTS keeps it: the newest state, and at its end the request and the
 * response. A dead letter and a synchronous call with its bodies are the same. Written with compare-and-set only, so that
 * a call has one end. Times in milliseconds since the epoch.
 */
export interface CallRecord {
  readonly id: string;
  readonly function: FunctionName;
  readonly state: RecordState;
  readonly priority: Priority;
  readonly queuedMs: number;
  /** When it is due for the first time, where that is later. */
  readonly runAtMs?: number;
  /** Of `retrying`: when the next attempt is due. */
  readonly nextMs?: number;
  readonly endedMs?: number;
  /** When this record may go; of one that is over. */
  readonly expiresMs?: number;
  /** The latest of them, `maxAttemptsKept` at most. */
  readonly attempts: readonly Attempt[];
  /** Why it is dead, or who cancelled it. */
  readonly error?: CallError;
  readonly callbackUrl?: string;
  /** The call whose outcome this one was made from. */
  readonly parent?: string;
  /** The call that this one runs again. */
  readonly replayOf?: string;
  readonly traceparent?: string;
  readonly tracestate?: string;
  /** Of one that is over. */
  readonly request?: { readonly head: RequestHead; readonly contentType?: string; readonly body: KeptBody };
  /** What the function answered last. */
  readonly response?: ResponseHead & { readonly body: KeptBody };
  /** A synchronous call, told by its replica. */
  readonly isSynchronous?: true;
  /** Of a dead letter that is about an outcome: who was not told, and the call as it ended. */
  readonly untold?: {
    readonly target: OutcomeTarget;
    readonly call: Pick<CallRecord, "id" | "state" | "error" | "parent">;
  };
}

/** Attempts that a record keeps. */
export const maxAttemptsKept = 100;

/** Bodies up to this size are kept behind their record; larger ones elsewhere. */
export const maxBodyHereBytes = 1024 * 1024;

/**
 * Most bytes of one part of a larger response. Far below the least that a server takes in a message (1 MiB), and few messages
 * where there is much.
 */
export const maxPartBytes = 256 * 1024;

/** Whom an outcome is to be told. */
export type OutcomeTarget =
  /** `X-Callback-Url`, or a URL of an annotation. */
  | { readonly kind: "url"; readonly url: string }
  /** A durable call of a function, the response its request body. */
  | { readonly kind: "function"; readonly function: FunctionName }
  /** A NATS subject outside the platform's own. */
  | { readonly kind: "subject"; readonly subject: string };

/** What is known of an accepted durable call besides its request: header `Busker-Durable`, as JSON. */
export interface DurableFacts {
  /** When it was accepted, milliseconds since the epoch. */
  readonly queuedMs: number;
  /** Not before then. */
  readonly runAtMs?: number;
  readonly callbackUrl?: string;
  /** The call whose outcome this one was made from. */
  readonly parent?: string;
  /** The call that this one runs again. */
  readonly replayOf?: string;
  /** Where the body is, when it is not in the message. */
  readonly payload?: KeptBody;
}
