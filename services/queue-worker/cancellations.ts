import type { Cancellation } from "../../schemas/events.ts";
import { cancelAnyFilter } from "../../schemas/subjects.ts";
import type { Bus } from "../bus/connection.ts";
import { readEvent } from "../bus/events.ts";
import { createFaultReporter } from "../bus/report-fault.ts";

/** A call that runs here and may be cancelled. */
export interface Cancellable {
  readonly signal: AbortSignal;
  readonly cancel: () => void;
  /** It runs no more. */
  readonly forget: () => void;
}

/** Who is told that a call was cancelled: whoever runs it here. */
export interface Cancellations {
  readonly of: (id: string) => Cancellable;
  readonly stop: () => void;
}

/** Listens for cancellations. They are told once and to whoever is there: that a call is cancelled is in its record. */
export const openCancellations = (bus: Bus): Cancellations => {
  const running = new Map<string, Set<AbortController>>();
  const report = createFaultReporter();
  const subscription = bus.nc.subscribe(cancelAnyFilter, {
    callback: (error, message) => {
      try {
        if (error) throw error;
        const { id }: Cancellation = readEvent<"io.busker.cancel">(message).data;
        for (const controller of running.get(id) ?? []) controller.abort();
      } catch (cause) {
        report("a cancellation cannot be read", cause);
      }
    },
  });
  return {
    of: (id) => {
      const controller = new AbortController();
      const here = running.get(id) ?? new Set();
      running.set(id, here.add(controller));
      return {
        signal: controller.signal,
        cancel: () => controller.abort(),
        forget: () => {
          here.delete(controller);
          if (here.size === 0 && running.get(id) === here) running.delete(id);
        },
      };
    },
    stop: () => subscription.unsubscribe(),
  };
};
