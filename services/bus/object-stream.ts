import { BuskerError } from "../../schemas/errors.ts";
import type { Bus } from "./connection.ts";
import { asBusError } from "./jetstream-errors.ts";

/**
 * What an object's content becomes for its reader: errors with `bus_unavailable` when the server goes away in the middle
 * (the library's stream would wait for ever) and with `internal` when the content is not what was stored. It never ends
 * short of its size.
 */
export const guardContent = (
  bus: Bus,
  name: string,
  content: ReadableStream<Uint8Array>,
  size: number,
): ReadableStream<Uint8Array> => {
  const reader = content.getReader();
  let left = size;
  let unlisten = (): void => {};
  const fail = (controller: ReadableStreamDefaultController<Uint8Array>, error: BuskerError): void => {
    unlisten();
    controller.error(error);
    reader.cancel(error).catch(() => undefined);
  };
  return new ReadableStream<Uint8Array>({
    start: (controller) => {
      unlisten = bus.onChange((connected) => {
        if (!connected)
          fail(controller, asBusError(`could not read object ${name} to its end`, new Error("the server went away")));
      });
    },
    pull: async (controller) => {
      const step = await reader.read().catch((cause: unknown) => {
        throw new BuskerError("internal", `object ${name} is not what was stored: ${String(cause)}`, { cause });
      });
      if (step.done) {
        unlisten();
        if (left !== 0) throw new BuskerError("internal", `object ${name} ended ${left} bytes short`);
        return controller.close();
      }
      left -= step.value.length;
      controller.enqueue(step.value);
    },
    cancel: async (reason) => {
      unlisten();
      await reader.cancel(reason);
    },
  });
};
