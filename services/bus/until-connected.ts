import type { Bus } from "./connection.ts";

/** Resolves when the server is there; rejects when `signal` is aborted. */
export const untilConnected = (bus: Bus, signal: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    signal.throwIfAborted();
    if (bus.isConnected()) return resolve();
    const stop = (): void => {
      unlisten();
      reject(signal.reason as Error);
    };
    const unlisten = bus.onChange((connected) => {
      if (!connected) return;
      unlisten();
      signal.removeEventListener("abort", stop);
      resolve();
    });
    signal.addEventListener("abort", stop, { once: true });
  });
