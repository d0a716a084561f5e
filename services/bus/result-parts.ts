import { maxBodyHereBytes } from "../../schemas/call.ts";
import type { BuskerError } from "../../schemas/errors.ts";
import { partsSubject } from "../../schemas/subjects.ts";
import type { AcknowledgedPublisher } from "./acknowledged.ts";
import type { BodyListener } from "./body-receiver.ts";
import type { CallResult } from "./open-call.ts";
import { type PartsEnd, PartsWriter } from "./parts-writer.ts";

export type { PartsEnd } from "./parts-writer.ts";

/**
 * Most bytes of a response, unless configured otherwise. Half of what stream PARTS keeps: a larger one would push out its
 * own beginning before anybody can read it, and with it everybody else's.
 */
export const defaultMaxResultBytes = 512 * 1024 * 1024;

/** A streamed response that is to be kept. */
export interface ResponseToKeep {
  readonly id: string;
  /** The attempt that it is the response of. */
  readonly attempt: number;
  readonly result: Extract<CallResult, { readonly kind: "streaming" }>;
  readonly maxBytes: number;
  /** Stops the invocation: called when the response cannot be kept any further. */
  readonly cancel: () => void;
}

/** What becomes of a streamed response. */
export type KeptResponse =
  /** It was small: here it is, and nothing was written. */
  | { readonly kind: "whole"; readonly body: Uint8Array }
  /** It broke off while it was small; nothing was written. */
  | { readonly kind: "broken"; readonly error: BuskerError }
  /** Its head is in stream PARTS, and the rest is on its way there: it can be read from now on. */
  | {
      readonly kind: "parts";
      readonly ended: Promise<PartsEnd>;
      /** Ends it with an error, unless it has ended. */
      readonly abort: (error: BuskerError) => void;
    };

// A response that is written for longer is one that somebody may want to see grow.
const wholeWithinMs = 100;

/** Puts a response together until it is complete, too large or too slow to be kept as one. Never credits more than it holds. */
const collectBody = (done: (chunks: readonly Uint8Array[], end: "end" | "more" | BuskerError) => void) => {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  let isOver = false;
  const settle = (end: "end" | "more" | BuskerError): void => {
    if (isOver) return;
    isOver = true;
    clearTimeout(timer);
    done(chunks, end);
  };
  const timer = setTimeout(() => settle("more"), wholeWithinMs);
  const listener: BodyListener = {
    onData: (chunk) => {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes > maxBodyHereBytes) settle("more");
    },
    onEnd: () => settle("end"),
    onError: settle,
  };
  return listener;
};

const writePartsOf = (
  acknowledged: AcknowledgedPublisher,
  { id, attempt, result, maxBytes, cancel }: ResponseToKeep,
  creditedBytes: number,
): PartsWriter => {
  let aheadBytes = creditedBytes;
  return new PartsWriter({
    acknowledged,
    subject: partsSubject(id, attempt),
    head: result.reply.head,
    maxBytes,
    onKept: (bytes) => {
      const credited = Math.min(bytes, aheadBytes);
      aheadBytes -= credited;
      if (bytes > credited) result.rest.consumed(bytes - credited);
    },
    onGivenUp: cancel,
  });
};

/**
 * Keeps a streamed response: whole when it is complete within a moment and small, else in parts. To be called in the turn
 * in which the result was handed over. Never rejects. The function is held back when the stream is slower than it is.
 */
export const collectOrPart = (acknowledged: AcknowledgedPublisher, response: ResponseToKeep): Promise<KeptResponse> =>
  new Promise((resolve) => {
    const { rest, body } = response.result;
    let creditedBytes = 0;
    let listener: BodyListener = collectBody((chunks, end) => {
      if (end === "end") return resolve({ kind: "whole", body: Buffer.concat(chunks) });
      if (end !== "more") return resolve({ kind: "broken", error: end });
      const writer = writePartsOf(acknowledged, response, creditedBytes);
      listener = writer;
      const opened = writer.open();
      for (const chunk of chunks) writer.onData(chunk);
      const { ended } = writer;
      void opened.then(() => resolve({ kind: "parts", ended, abort: (error) => writer.onError(error) }));
    });
    const take = (chunk: Uint8Array): void => {
      listener.onData(chunk);
      if (listener instanceof PartsWriter) return;
      // What is collected is little: the function may go on.
      creditedBytes += chunk.length;
      rest.consumed(chunk.length);
    };
    rest.listen({
      onData: take,
      onEnd: () => listener.onEnd(),
      onError: (error) => listener.onError(error),
    });
    take(body);
  });
