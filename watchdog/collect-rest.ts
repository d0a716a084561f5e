import { BuskerError } from "../schemas/errors.ts";
import type { IncomingBody } from "../services/bus/body-receiver.ts";

/**
 * Puts a streamed body together for a mode that needs it whole. Hands over the body, `body_too_large` as soon as it is
 * known to be larger than `maxBytes`, or what it broke with.
 */
export const collectRest = (
  first: Uint8Array,
  rest: IncomingBody,
  maxBytes: number,
  done: (body: Uint8Array | BuskerError) => void,
): void => {
  const chunks: Uint8Array[] = [first];
  let bytes = first.length;
  let isOver = false;
  const settle = (body: Uint8Array | BuskerError): void => {
    if (!isOver) done(body);
    isOver = true;
  };
  rest.listen({
    onData: (chunk) => {
      bytes += chunk.length;
      chunks.push(chunk);
      if (bytes <= maxBytes) return rest.consumed(chunk.length);
      chunks.length = 0;
      settle(
        new BuskerError(
          "body_too_large",
          `the request body is larger than ${maxBytes} bytes, the most that this function takes whole; modes http, streaming and pool take any length, and a handler with "export const streamBody = true"`,
        ),
      );
    },
    onEnd: () => settle(Buffer.concat(chunks, bytes)),
    onError: settle,
  });
  rest.consumed(first.length);
};

/** Lets what follows a body go by, for a call that is answered without it. */
export const ignoreRest = (body: Uint8Array, rest: IncomingBody): void => {
  rest.listen({
    onData: (chunk) => rest.consumed(chunk.length),
    onEnd: () => undefined,
    onError: () => undefined,
  });
  rest.consumed(body.length);
};
