import type { Writable } from "node:stream";
import type { Call } from "../mode.ts";
import { ignoreRest } from "../collect-rest.ts";
import type { IncomingBody } from "../../services/bus/body-receiver.ts";

/** What a process reads, and what to do when it will never be complete. */
export interface InputParts {
  readonly body: Uint8Array;
  /** What follows `body`. */
  readonly rest?: IncomingBody | undefined;
  readonly onBroken: () => void;
}

/**
 * Writes a body to a process, no faster than it reads. A process need not read its whole input: what it leaves is dropped,
 * so that whoever sends it is not held up for ever.
 */
export const writeInput = (stdin: Writable, { body, rest, onBroken }: InputParts): void => {
  // EPIPE: the process does not read any more, which is its right. It is told to each write, too.
  stdin.on("error", () => undefined);
  if (!rest) {
    stdin.end(body);
    return;
  }
  const write = (chunk: Uint8Array): void => {
    stdin.write(chunk, () => rest.consumed(chunk.length));
  };
  rest.listen({ onData: write, onEnd: () => stdin.end(), onError: onBroken });
  if (body.length > 0) write(body);
};

/**
 * A call as a mode sees it that has no WebSockets: one that would be a WebSocket is an ordinary one with an empty body, and
 * what its client sends goes by.
 */
export const withoutUpgrade = (call: Call): Call => {
  if (!call.upgrade) return call;
  if (call.rest) ignoreRest(call.body, call.rest);
  return { ...call, rest: undefined, upgrade: undefined };
};
