import { BuskerError } from "../../schemas/errors.ts";
import type { BodySink } from "./body-sender.ts";

/** A body in parts: an async generator, a Node or a web stream, an array. */
export type BodyParts = AsyncIterable<string | Uint8Array> | Iterable<string | Uint8Array>;

const untilDrained = (sink: BodySink): Promise<void> =>
  new Promise((resolve) => {
    sink.onDrain = resolve;
  });

/**
 * Writes a body at the pace at which it is taken. When the parts themselves fail, so does the body. Never rejects: the
 * body's receiver is told.
 */
export const writeParts = async (parts: BodyParts, sink: BodySink): Promise<void> => {
  try {
    for await (const part of parts) {
      if (sink.isOver) return;
      // A copy: the giver may use its memory again, and what is written waits for credit.
      if (!sink.write(Buffer.from(part)) && !sink.isOver) await untilDrained(sink);
    }
    sink.end();
  } catch (cause) {
    sink.abort(new BuskerError("cancelled", `the request body ended with an error: ${String(cause)}`, { cause }));
  }
};
