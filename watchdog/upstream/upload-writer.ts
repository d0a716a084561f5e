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
