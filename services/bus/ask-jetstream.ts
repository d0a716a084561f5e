import type { Bus } from "./connection.ts";
import { asBusError } from "./jetstream-errors.ts";

/**
 * Does something that the server has to be there for. Rejects with `bus_unavailable`, at once while it is away, `what` and the
 * server's own words in the message; a BuskerError stays as it is.
 */
export const askJetStream = async <R>(bus: Bus, what: string, act: () => Promise<R>): Promise<R> => {
  bus.assertConnected();
  try {
    return await act();
  } catch (cause) {
    throw asBusError(what, cause);
  }
};
