import type { FunctionRecord, FunctionStatusRecord } from "../../schemas/function.ts";
import { functionTimeoutMs, keepsEvents } from "../../schemas/function.ts";
import { type FunctionName, formatFunctionName, parseFunctionName } from "../../schemas/names.ts";
import { buckets } from "../../schemas/topology.ts";
import type { Bus } from "../bus/connection.ts";
import { openBucket } from "../bus/kv.ts";
import { mirrorBucket } from "../bus/mirror.ts";

/** A function as this gateway knows it. */
export interface FunctionEntry {
  readonly function: FunctionName;
  readonly record: FunctionRecord;
  readonly timeoutMs: number;
  /** Its streams of events are kept for readers who come back. */
  readonly keepsEvents: boolean;
}

/** The local copy of the buckets `functions`, `status` and `namespaces`: nobody is asked on the way of a call. */
export interface Directory {
  /** By `name` or `name.namespace` as a client wrote it. */
  readonly find: (text: string) => FunctionEntry | undefined;
  readonly list: (namespace: string) => readonly FunctionEntry[];
  readonly all: () => readonly FunctionEntry[];
  readonly status: (name: FunctionName) => FunctionStatusRecord | undefined;
  readonly namespaces: () => readonly string[];
  /** Gives a function that takes the listener away. */
  readonly onRemoved: (listener: (name: FunctionName) => void) => () => void;
  readonly stop: () => void;
}

/** Opens the directory; rejects while the buckets do not exist yet. */
export const openDirectory = async (bus: Bus): Promise<Directory> => {
  const functions = new Map<string, FunctionEntry>();
  const statuses = new Map<string, FunctionStatusRecord>();
  const namespaces = new Set<string>();
  const removedListeners = new Set<(name: FunctionName) => void>();
  const tellRemoved = (key: string): void => {
    const gone = functions.get(key);
    functions.delete(key);
    if (gone) for (const listener of removedListeners) listener(gone.function);
  };
  const stops = [
    await mirrorBucket<FunctionRecord>(
      await openBucket(bus, buckets.functions),
      (key, record) => {
        const { namespace, name } = record.spec;
        // Removed and deployed again while nobody was there to hear of it.
        if (functions.get(key)?.record.createdAt !== record.createdAt) tellRemoved(key);
        functions.set(key, {
          function: { namespace, name },
          record,
          timeoutMs: functionTimeoutMs(record.spec),
          keepsEvents: keepsEvents(record.spec),
        });
      },
      tellRemoved,
    ),
    await mirrorBucket<FunctionStatusRecord>(
      await openBucket(bus, buckets.status),
      (key, status) => statuses.set(key, status),
      (key) => statuses.delete(key),
    ),
    await mirrorBucket<unknown>(
      await openBucket(bus, buckets.namespaces),
      (key) => namespaces.add(key),
      (key) => namespaces.delete(key),
    ),
  ];
  // The exact text first: a client that writes the namespace pays no parsing, and most others pay it once.
  const aliases = new Map<string, string>();
  const keyOf = (text: string): string => {
    const known = aliases.get(text);
    if (known !== undefined) return known;
    const key = formatFunctionName(parseFunctionName(text));
    // Only names that exist are remembered, so that made-up ones cannot fill the memory.
    if (functions.has(key) && aliases.size < 100_000) aliases.set(text, key);
    return key;
  };
  return {
    find: (text) => functions.get(text) ?? functions.get(keyOf(text)),
    list: (namespace) =>
      [...functions.values()]
        .filter((entry) => entry.function.namespace === namespace)
        .toSorted((a, b) => a.function.name.localeCompare(b.function.name)),
    all: () => [...functions.values()],
    status: (name) => statuses.get(formatFunctionName(name)),
    namespaces: () => [...namespaces].toSorted(),
    onRemoved: (listener) => {
      removedListeners.add(listener);
      return () => removedListeners.delete(listener);
    },
    stop: () => {
      for (const stop of stops) stop();
    },
  };
};
