import { BuskerError } from "../../schemas/errors.ts";
import { functionTimeoutMs } from "../../schemas/function.ts";
import type { Bus } from "../bus/connection.ts";
import { openInvoker } from "../bus/invoker.ts";
import { standIn, type WaitingCall } from "../bus/stand-in.ts";
import type { FunctionState } from "./function-state.ts";

/** Takes the place of functions that have no ready replica, for callers that only know the queue group. */
export interface StandIns {
  /** Takes the place or leaves it, as the function's replicas have it. */
  readonly update: (state: FunctionState) => void;
  readonly close: () => void;
}

/** Opens the places; calls in them wait in an invoker of their own. */
export const openStandIns = (bus: Bus): StandIns => {
  const invoker = openInvoker(bus);
  const places = new Map<string, { readonly timeoutMs: number; readonly leave: () => void }>();
  const waiting = new Set<WaitingCall>();
  let open = true;
  const leave = (key: string): void => {
    places.get(key)?.leave();
    places.delete(key);
  };
  return {
    update: ({ key, name, record, available }) => {
      if (!open) return;
      if (!record || available > 0) return leave(key);
      const timeoutMs = functionTimeoutMs(record.spec);
      if (places.get(key)?.timeoutMs === timeoutMs) return;
      leave(key);
      places.set(key, { timeoutMs, leave: standIn({ bus, invoker, waiting, options: { function: name, timeoutMs } }) });
    },
    close: () => {
      open = false;
      for (const key of places.keys()) leave(key);
      const error = new BuskerError(
        "provider_unavailable",
        "the provider, which kept this call until a replica is ready, has stopped",
      );
      for (const call of waiting) call.fail(error);
      invoker.close();
    },
  };
};
