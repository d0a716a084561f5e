import { randomBytes } from "node:crypto";
import type { KeptBody } from "../../schemas/call.ts";
import { BuskerError } from "../../schemas/errors.ts";
import { callToken } from "../../schemas/subjects.ts";
import type { ObjectStore } from "./objects.ts";

/** A new name for a body of this call: somebody may give the same id at the same time. */
const payloadName = (id: string): string => `${callToken(id)}.${randomBytes(12).toString("hex")}`;

const tooLarge = (maxBytes: number): BuskerError =>
  new BuskerError("body_too_large", `the request body is larger than ${maxBytes} bytes, the most that is taken`);

/** The content, up to so many bytes; it errors with `body_too_large` when it has more. `onBytes` is told of each chunk. */
const limited = (
  content: AsyncIterable<Uint8Array>,
  maxBytes: number,
  onBytes: (bytes: number) => void,
): ReadableStream<Uint8Array> => {
  const chunks = content[Symbol.asyncIterator]();
  let bytes = 0;
  return new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        const step = await chunks.next();
        if (step.done) return controller.close();
        bytes += step.value.length;
        if (bytes > maxBytes) {
          // The giver learns that nobody reads on.
          await chunks.return?.();
          throw tooLarge(maxBytes);
        }
        onBytes(step.value.length);
        controller.enqueue(step.value);
      },
      cancel: async () => {
        await chunks.return?.();
      },
    },
    { highWaterMark: 0 },
  );
};

/**
 * Stores a request body in store `payloads` as it comes, and gives where it is. Rejects with `body_too_large` as soon as it
 * is known to be larger than `maxBytes`, with the content's own error when that breaks off, and with `bus_unavailable`;
 * then nothing of it is left, or the sweep finds it. Content that is not read to its end is told so, by `return`: a Node
 * request whose client is still to be answered is given as `request.iterator({ destroyOnReturn: false })`.
 */
export const putPayload = async (
  store: Pick<ObjectStore, "put">,
  id: string,
  content: AsyncIterable<Uint8Array>,
  maxBytes: number,
): Promise<KeptBody & { readonly place: "payload"; readonly name: string }> => {
  const name = payloadName(id);
  let bytes = 0;
  await store.put(
    name,
    limited(content, maxBytes, (more) => (bytes += more)),
  );
  return { place: "payload", name, bytes };
};
