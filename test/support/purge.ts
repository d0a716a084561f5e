import { jetstreamManager } from "@nats-io/jetstream";
import type { Bus } from "../../services/bus/connection.ts";

/** Empties a stream, so that no test gets what another has left. */
export const purgeStream = async (bus: Bus, name: string): Promise<void> => {
  await (await jetstreamManager(bus.nc)).streams.purge(name);
};
