import type { FunctionRecord } from "../../schemas/function.ts";
import { type FunctionName, formatFunctionName } from "../../schemas/names.ts";
import { buckets } from "../../schemas/topology.ts";
import type { Bus } from "../bus/connection.ts";
import { openBucket } from "../bus/kv.ts";
import { mirrorBucket } from "../bus/mirror.ts";

/** The functions as they are wished for: a local copy, so that nobody is asked on the way of a call. */
export interface Functions {
  readonly find: (name: FunctionName) => FunctionRecord | undefined;
  /** As `find`, and asks where the copy has none: it may have been deployed a moment ago. */
  readonly lookUp: (name: FunctionName) => Promise<FunctionRecord | undefined>;
  /** Gives a function that takes the listener away. */
  readonly onRemoved: (listener: (name: FunctionName) => void) => () => void;
  readonly stop: () => void;
}

/** Opens the copy; rejects while the bucket does not exist yet. */
export const openFunctions = async (bus: Bus): Promise<Functions> => {
  const bucket = await openBucket<FunctionRecord>(bus, buckets.functions);
  const functions = new Map<string, FunctionRecord>();
  const listeners = new Set<(name: FunctionName) => void>();
  const stop = await mirrorBucket<FunctionRecord>(
    bucket,
    (key, record) => functions.set(key, record),
    (key) => {
      const gone = functions.get(key)?.spec;
      functions.delete(key);
      if (gone) for (const listener of listeners) listener({ namespace: gone.namespace, name: gone.name });
    },
  );
  const find = (name: FunctionName): FunctionRecord | undefined => functions.get(formatFunctionName(name));
  return {
    find,
    lookUp: async (name) => find(name) ?? (await bucket.get(formatFunctionName(name)))?.value,
    onRemoved: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    stop,
  };
};
