import { Readable } from "node:stream";
import type { IncomingBody } from "../../services/bus/body-receiver.ts";

/**
 * A call's body as a stream, for a handler that asked for it: the client is held up while nobody reads. Breaks with an
 * error when the client goes away before the end.
 */
export const openBodyStream = (first: Uint8Array, rest: IncomingBody | undefined): Readable => {
  let owedBytes = first.length;
  const credit = (): void => {
    const bytes = owedBytes;
    owedBytes = 0;
    if (bytes > 0) rest?.consumed(bytes);
  };
  const stream = new Readable({
    // Asked for more only when what is here does not fill the stream's own buffer.
    read: credit,
    destroy: (error, done) => {
      // Nobody reads on: what still comes is let go, so that the client is not held up.
      credit();
      done(error);
    },
  });
  // A handler that does not read its body has nobody to tell.
  stream.on("error", () => undefined);
  if (first.length > 0) stream.push(first);
  rest?.listen({
    onData: (chunk) => {
      owedBytes += chunk.length;
      if (stream.destroyed) credit();
      else stream.push(chunk);
    },
    onEnd: () => stream.push(null),
    onError: (error) => stream.destroy(error),
  });
  if (!rest) stream.push(null);
  return stream;
};
