import type { FunctionRecord } from "../../schemas/function.ts";
import { formatFunctionName } from "../../schemas/names.ts";
import { demandAnyFilter, parseFunctionSubject } from "../../schemas/subjects.ts";
import type { Bus } from "../bus/connection.ts";
import { describeError, type Log } from "../runtime/log.ts";
import { minReplicas } from "./check-spec.ts";
import type { FunctionState } from "./function-state.ts";
import type { FunctionStore } from "./function-store.ts";

/** What answering demand needs. */
export interface DemandParts {
  readonly bus: Bus;
  readonly store: Pick<FunctionStore, "change">;
  readonly find: (key: string) => FunctionState | undefined;
  readonly log: Log;
}

const wake = (record: FunctionRecord): FunctionRecord | undefined =>
  record.replicas > 0
    ? undefined
    : { ...record, replicas: Math.max(1, minReplicas(record.spec)), updatedAt: new Date().toISOString() };

/** Scales a function that is at zero to its least count when somebody wants it. Gives a function that stops it. */
export const openDemand = ({ bus, store, find, log }: DemandParts): (() => void) => {
  const waking = new Set<string>();
  const onDemand = async (key: string): Promise<void> => {
    const state = find(key);
    const record = state?.record;
    // Everybody who waits demands: one write answers all of them.
    if (!state || !record || record.replicas > 0 || waking.has(key)) return;
    waking.add(key);
    try {
      await store.change(key, wake, { key, value: record, revision: state.entryRevision });
    } catch (error) {
      log.warn("could not scale from zero", { function: key, error: describeError(error) });
    } finally {
      waking.delete(key);
    }
  };
  const subscription = bus.nc.subscribe(demandAnyFilter, {
    callback: (error, message) => {
      const name = error ? undefined : parseFunctionSubject(message.subject, 1);
      if (name) void onDemand(formatFunctionName(name));
    },
  });
  return () => subscription.unsubscribe();
};
