import { BuskerError } from "../../schemas/errors.ts";
import type { IncomingBody } from "../../services/bus/body-receiver.ts";

/** The rest of a streamed request body. */
export interface UploadParts {
  readonly rest: IncomingBody;
  /** Length of the whole body, as the head says; undefined: chunked. */
  readonly bytes: number | undefined;
}

/** Writes a streamed body in the framing that its head announced. */
export interface UploadWriter {
  /** Throws `invalid_request` when the body is longer than announced. */
  write(chunk: Uint8Array): void;
  /** Throws `invalid_request` when the body is shorter than announced. */
  end(): void;
}

// A length that is not kept would make the function's server read the next request out of this body, or the reverse.
const wrongLength = (announced: number, what: string): BuskerError =>
  new BuskerError("invalid_request", `the body must have the ${announced} bytes that its Content-Length says; ${what}`);

/** What a caller writes into a WebSocket. */
export interface SocketWriter extends UploadWriter {
  /** The function has answered: with 101 it gets what has come so far and all that follows, else nothing of it. */
  settle(isAccepted: boolean): void;
}

/** A writer of bytes as they are, that begins when the function has taken the upgrade; `endWriting` closes its half. */
export const createSocketWriter = (
  rest: IncomingBody,
  write: (bytes: Uint8Array, sent: (error?: Error | null) => void) => void,
  endWriting: () => void,
): SocketWriter => {
  // No more than the caller's first credit: none is renewed before these are written.
  let held: Uint8Array[] = [];
  let state: "waiting" | "accepted" | "refused" = "waiting";
  let isEnded = false;
  const pass = (chunk: Uint8Array): void =>
    write(chunk, (error) => {
      if (!error) rest.consumed(chunk.length);
    });
  return {
    write(chunk) {
      if (state === "accepted") pass(chunk);
      else if (state === "waiting") held.push(chunk);
    },
    end() {
      isEnded = true;
      if (state === "accepted") endWriting();
    },
    settle(isAccepted) {
      state = isAccepted ? "accepted" : "refused";
      const early = held;
      held = [];
      if (!isAccepted) return;
      for (const chunk of early) pass(chunk);
      if (isEnded) endWriting();
    },
  };
};

/** A writer over a socket: `write` hands bytes on and calls back when the kernel has taken them. */
export const createUploadWriter = (
  { rest, bytes }: UploadParts,
  write: (bytes: Uint8Array | string, sent?: (error?: Error | null) => void) => void,
): UploadWriter => {
  let written = 0;
  return {
    write(chunk) {
      written += chunk.length;
      if (bytes !== undefined && written > bytes) throw wrongLength(bytes, `got ${written} and more`);
      const sent = (error?: Error | null): void => {
        if (!error) rest.consumed(chunk.length);
      };
      if (bytes !== undefined) return write(chunk, sent);
      write(`${chunk.length.toString(16)}\r\n`);
      write(chunk, sent);
      write("\r\n");
    },
    end() {
      if (bytes === undefined) write("0\r\n\r\n");
      else if (written < bytes) throw wrongLength(bytes, `got ${written}`);
    },
  };
};
