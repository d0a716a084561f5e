import { setTimeout as wait } from "node:timers/promises";
import { BuskerError } from "../../../schemas/errors.ts";
import type { Supervised } from "./supervise.ts";

/** What is waited for, and how long. */
export interface HealthWait {
  readonly gatewayUrl: string;
  readonly services: readonly Supervised[];
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
}

// A service that has died this often does not come up: waiting on only hides the reason.
const hopelessDeaths = 5;
const lookMs = 25;

const isHealthy = async (gatewayUrl: string): Promise<boolean> => {
  try {
    return (await fetch(`${gatewayUrl}/healthz`, { signal: AbortSignal.timeout(1000) })).ok;
  } catch {
    return false;
  }
};

/** Resolves when the gateway answers `/healthz`; rejects with what a service died of, or at the deadline. */
export const waitHealthy = async ({ gatewayUrl, services, deadlineMs, signal }: HealthWait): Promise<void> => {
  const endMs = performance.now() + deadlineMs;
  while (!(await isHealthy(gatewayUrl))) {
    signal.throwIfAborted();
    const dead = services.find((service) => service.deaths() >= hopelessDeaths);
    if (dead)
      throw new BuskerError(
        "internal",
        `cannot start: ${dead.name} does not come up; its last line: ${dead.lastLine()}`,
      );
    if (performance.now() > endMs)
      throw new BuskerError(
        "internal",
        `cannot start: the gateway did not answer at ${gatewayUrl} within ${deadlineMs} ms`,
      );
    await wait(lookMs, undefined, { signal });
  }
};
