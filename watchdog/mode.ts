import type { ErrorCode } from "../schemas/errors.ts";
import type { IncomingBody } from "../services/bus/body-receiver.ts";
import type { BodySink } from "../services/bus/body-sender.ts";

/** One call as a mode runs it. */
export interface Call {
  readonly id: string;
  readonly method: string;
  /** Rest of the path with its query, beginning with `/`. */
  readonly path: string;
  /** Names and values in turn, as the client sent them. */
  readonly headers: readonly string[];
  readonly body: Uint8Array;
  /** What follows `body`, in modes that take streams; to be listened to before `begin` returns. */
  readonly rest?: IncomingBody | undefined;
  /** The caller would have a WebSocket: with 101, `rest` and the answer's stream are its bytes. Only with `rest` and `canStream`. */
  readonly upgrade?: "websocket" | undefined;
  /** Whether the caller takes an answer with `stream`. */
  readonly canStream?: boolean;
  /** Milliseconds since the epoch. The watchdog, not the mode, watches it. */
  readonly deadlineMs: number;
}

/** What became of a call. */
export interface Answer {
  readonly status: number;
  /** Names and values in turn. */
  readonly headers: readonly string[];
  readonly body: Uint8Array | string;
  /** Set when `body` is only the beginning: called at once, with where the rest goes. */
  readonly stream?: (sink: BodySink) => void;
  /** Set when the platform and not the function made this answer. */
  readonly error?: ErrorCode;
}

/** Why a call is stopped from outside. */
export type StopCause = "deadline" | "cancelled";

/**
 * Ends a call's work at once, whole process group included. The mode still answers the call, exactly once; an answer that
 * is being streamed it aborts.
 */
export type StopCall = (cause: StopCause) => void;

/** One way of running a function. */
export interface Mode {
  /** Whether it takes bodies that are not whole; others get theirs collected. */
  readonly takesStreams?: boolean;
  /** Resolves when the function really answers; rejects with a `start_failed` BuskerError that says why it does not. */
  start(): Promise<void>;
  /**
   * Runs one call and hands its answer to `finish`, exactly once and never before `begin` has returned.
   * Callbacks, not promises: this is the hot path.
   */
  begin(call: Call, finish: (answer: Answer) => void): StopCall;
  /** Ends the function: SIGTERM, then SIGKILL to whatever of its process groups is left after `graceMs`. */
  stop(graceMs: number): Promise<void>;
}

/** What a mode is given by the watchdog. */
export interface ModeContext {
  /** A line of the function's output, with the id of the call that wrote it where known. */
  readonly log: (stream: "stdout" | "stderr", text: string, callId?: string) => void;
  /** The function as a whole is gone (its long-lived process ended): the replica cannot serve any more. */
  readonly lost: (reason: string) => void;
}
