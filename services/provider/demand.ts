import type { FunctionRecord } from "../../schemas/function.ts";
import { wireHeaders } from "../../schemas/invocation.ts";
import { formatFunctionName } from "../../schemas/names.ts";
import { leastAwake } from "../../schemas/scale-labels.ts";
import { demandAnyFilter, isReplySubject, parseFunctionSubject } from "../../schemas/subjects.ts";
import type { Bus } from "../bus/connection.ts";
import { HeaderBlock } from "../bus/headers.ts";
import { describeError, type Log } from "../runtime/log.ts";
import type { FunctionState } from "./function-state.ts";
import type { FunctionStore } from "./function-store.ts";

/** What answering demand needs. */
export interface DemandParts {
  readonly bus: Bus;
  readonly store: Pick<FunctionStore, "change" | "get">;
  readonly find: (key: string) => FunctionState | undefined;
  readonly reconcile: (state: FunctionState) => void;
  readonly log: Log;
}

const wake = (record: FunctionRecord): FunctionRecord | undefined => {
  if (record.replicas > 0) return undefined;
  const { scaledBecause: _because, ...rest } = record;
  return { ...rest, replicas: leastAwake(record.spec), updatedAt: new Date().toISOString() };
};

const noSuchFunction = HeaderBlock.of(`${wireHeaders.error}: function_not_found\r\n`);

/**
 * Scales a function that is at zero to its least count when somebody wants it.
 * Who wants a function that there is not is told so, where the demand says to. Gives a function that stops it.
 */
export const openDemand = ({ bus, store, find, reconcile, log }: DemandParts): (() => void) => {
  const waking = new Set<string>();
  const onDemand = async (key: string): Promise<void> => {
    const state = find(key);
    const record = state?.record;
    // Everybody who waits demands: one write answers all of them.
    if (!state || !record || record.replicas > 0 || waking.has(key)) return;
    waking.add(key);
    // A call waits for the replica, and need not wait for the record.
    state.demanded = leastAwake(record.spec);
    reconcile(state);
    try {
      await store.change(key, wake, { key, value: record, revision: state.entryRevision });
    } catch (error) {
      log.warn("could not scale from zero", { function: key, error: describeError(error) });
    } finally {
      waking.delete(key);
      state.demanded = 0;
      if (find(key) === state) reconcile(state);
    }
  };
  const refusing = new Set<string>();
  const refuseUnknown = async (key: string, reply: string): Promise<void> => {
    if (refusing.has(reply)) return;
    refusing.add(reply);
    try {
      // Asked, because a function that was deployed a moment ago may not have come round yet.
      if (!(await store.get(key))) bus.nc.publish(reply, "", { headers: noSuchFunction });
    } catch (error) {
      log.warn("could not look up a function that is wanted", { function: key, error: describeError(error) });
    } finally {
      refusing.delete(reply);
    }
  };
  const subscription = bus.nc.subscribe(demandAnyFilter, {
    callback: (error, message) => {
      const name = error ? undefined : parseFunctionSubject(message.subject, 1);
      if (!name) return;
      const key = formatFunctionName(name);
      if (find(key)?.record) void onDemand(key);
      // The sender chose this subject, and the provider has wider rights: see isReplySubject.
      else if (message.reply && isReplySubject(message.reply)) void refuseUnknown(key, message.reply);
    },
  });
  return () => subscription.unsubscribe();
};
