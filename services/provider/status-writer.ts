import type { FunctionStatusRecord } from "../../schemas/function.ts";
import type { Bucket } from "../bus/kv.ts";
import { describeError, type Log } from "../runtime/log.ts";

/** Writes what is observed into the bucket `status`, when it has changed. */
export interface StatusWriter {
  /** The newest status of a function; undefined removes it. Never throws: what fails is written with the next call. */
  readonly write: (key: string, status: FunctionStatusRecord | undefined) => void;
  /** Resolves when nothing is being written. */
  readonly settled: () => Promise<void>;
}

interface Slot {
  wanted: string | undefined;
  /** Undefined: removed; null: not known. */
  written: string | undefined | null;
  work: Promise<void> | undefined;
}

/** Opens a writer: one write per function at a time, the newest wins. */
export const createStatusWriter = (
  bucket: Pick<Bucket<FunctionStatusRecord>, "put" | "remove">,
  log: Log,
): StatusWriter => {
  const slots = new Map<string, Slot>();
  const store = async (key: string, slot: Slot): Promise<void> => {
    while (slot.wanted !== slot.written) {
      const { wanted } = slot;
      if (wanted === undefined) await bucket.remove(key);
      else await bucket.put(key, JSON.parse(wanted) as FunctionStatusRecord);
      slot.written = wanted;
    }
    if (slot.wanted === undefined) slots.delete(key);
  };
  const start = (key: string, slot: Slot): Promise<void> =>
    store(key, slot)
      .catch((error: unknown) => log.warn("could not write a status", { function: key, error: describeError(error) }))
      .finally(() => {
        slot.work = undefined;
      });
  return {
    write: (key, status) => {
      const slot = slots.get(key) ?? { wanted: undefined, written: null, work: undefined };
      slots.set(key, slot);
      slot.wanted = status && JSON.stringify(status);
      if (slot.wanted !== slot.written) slot.work ??= start(key, slot);
    },
    settled: async () => {
      for (const { work } of slots.values()) await work;
    },
  };
};
