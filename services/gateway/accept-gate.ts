import { BuskerError } from "../../schemas/errors.ts";

/** Lets calls on to the queue while the queue takes them. */
export interface AcceptGate {
  /**
   * Hands a call with a body of so many bytes on by `hand`; rejects at once with `bus_unavailable` where it would only wait
   * with too many others.
   */
  readonly pass: <T>(bytes: number, hand: () => Promise<T>) => Promise<T>;
}

const isSilence = (error: unknown): boolean => error instanceof BuskerError && error.code === "bus_unavailable";

/**
 * Creates one that holds bodies of `maxBytes` at most. When the queue has answered nobody the last time, one call at a time
 * finds out whether it does again: a stream of nats-server 2.9 that met a full disk is silent until the server is started
 * again (seen), and everybody would wait the seconds that the first one waits, with a body each.
 */
export const createAcceptGate = (maxBytes: number): AcceptGate => {
  let heldBytes = 0;
  let passing = 0;
  let isSilent = false;
  return {
    pass: async (bytes, hand) => {
      if (isSilent && passing > 0)
        throw new BuskerError("bus_unavailable", "the queue of durable calls does not answer at the moment");
      if (heldBytes + bytes > maxBytes)
        throw new BuskerError("bus_unavailable", `calls of ${heldBytes} bytes wait for the queue to take them`);
      heldBytes += bytes;
      passing += 1;
      try {
        const handed = await hand();
        isSilent = false;
        return handed;
      } catch (error) {
        isSilent = isSilence(error);
        throw error;
      } finally {
        heldBytes -= bytes;
        passing -= 1;
      }
    },
  };
};
