import { setTimeout as pause } from "node:timers/promises";
import type { Bus } from "./connection.ts";
import { reportFault } from "./report-fault.ts";
import { untilConnected } from "./until-connected.ts";

// Between two rounds that failed while the server was there: JetStream takes a moment longer to come up than the server.
const againMs = 100;
const longestMs = 2000;
// Shorter troubles are those of any start.
const tellAfter = 5;

/**
 * Runs `round` again and again while the bus is there, whenever it ends and however: what follows a stream must be made
 * anew after each loss of the server. Ends when `signal` is aborted or the connection is closed. A round that keeps
 * failing is reported as `what`.
 */
export const keepRunning = async (
  bus: Bus,
  what: string,
  signal: AbortSignal,
  round: () => Promise<void>,
): Promise<void> => {
  let failures = 0;
  while (!signal.aborted && !bus.nc.isClosed()) {
    try {
      await untilConnected(bus, signal);
      await round();
      failures = 0;
    } catch (cause) {
      if (signal.aborted) return;
      failures += 1;
      if (failures % tellAfter === 0 && bus.isConnected())
        reportFault(`${what}: failed ${failures} times, trying again`, cause);
      await pause(Math.min(againMs * failures, longestMs), undefined, { signal }).catch(() => undefined);
    }
  }
};
