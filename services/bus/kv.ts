import { jetstream, JetStreamApiError } from "@nats-io/jetstream";
import { type KV, type KvEntry, Kvm, type KvWatchEntry } from "@nats-io/kv";
import { BuskerError } from "../../schemas/errors.ts";
import type { BucketDefinition } from "../../schemas/topology.ts";
import type { Bus } from "./connection.ts";

/** A value with the revision to compare against when it is written again. */
export interface Entry<T> {
  readonly key: string;
  readonly value: T;
  readonly revision: number;
}

/** A change of a bucket: a value put, or a key that is gone. */
export type Change<T> =
  | { readonly kind: "put"; readonly entry: Entry<T> }
  | { readonly kind: "gone"; readonly key: string; readonly revision: number };

/** A bucket of JSON values. */
export interface Bucket<T> {
  /** Undefined when there is no such key. */
  readonly get: (key: string) => Promise<Entry<T> | undefined>;
  /** Writes a key that must not exist; throws `conflict` when it does. Gives the revision. */
  readonly create: (key: string, value: T) => Promise<number>;
  /** Writes over the revision given; throws `conflict` when somebody was faster. Gives the new revision. */
  readonly update: (key: string, value: T, revision: number) => Promise<number>;
  /** Writes whatever was there. */
  readonly put: (key: string, value: T) => Promise<number>;
  readonly remove: (key: string) => Promise<void>;
  /** The values that a key had, newest first, as far back as the bucket keeps them; removals are left out. */
  readonly history: (key: string) => Promise<readonly Entry<T>[]>;
  /**
   * Calls `onChange` for every present key and then for every change, in order; `onCaughtUp` once, when the present
   * keys were told. Goes on over a restart of the server. Gives a function that stops it.
   */
  readonly watch: (onChange: (change: Change<T>) => void, onCaughtUp?: () => void) => Promise<() => void>;
}

/** Makes a bucket, or leaves the one that is there. */
export const createBucket = async (bus: Bus, definition: BucketDefinition, replicas: number): Promise<void> => {
  await new Kvm(jetstream(bus.nc)).create(definition.name, {
    description: definition.description,
    history: definition.history,
    ttl: definition.ttlMs,
    replicas,
  });
};

// The server's word for "not the revision you expected".
const wrongLastSequence = 10_071;

const asConflict = (key: string) => (cause: unknown): never => {
  if (cause instanceof JetStreamApiError && cause.code === wrongLastSequence)
    throw new BuskerError("conflict", `${key} was changed by somebody else at the same time`, { cause });
  throw new BuskerError("bus_unavailable", `could not write ${key}`, { cause });
};

const isPresent = (entry: KvEntry | KvWatchEntry): boolean => entry.operation === "PUT";

const parse = <T>(entry: KvEntry | KvWatchEntry): Entry<T> => ({
  key: entry.key,
  value: entry.json<T>(),
  revision: entry.revision,
});

const watchBucket = async <T>(
  kv: KV,
  onChange: (change: Change<T>) => void,
  onCaughtUp: () => void,
): Promise<() => void> => {
  const watch = await kv.watch();
  let toTell = await countKeys(kv);
  if (toTell === 0) onCaughtUp();
  void (async () => {
    for await (const entry of watch) {
      const { key, revision } = entry;
      onChange(isPresent(entry) ? { kind: "put", entry: parse<T>(entry) } : { kind: "gone", key, revision });
      if (toTell > 0 && entry.delta === 0) {
        toTell = 0;
        onCaughtUp();
      }
    }
  })();
  return () => watch.stop();
};

const readHistory = async <T>(kv: KV, key: string): Promise<readonly Entry<T>[]> => {
  const entries: Entry<T>[] = [];
  for await (const entry of await kv.history({ key })) if (isPresent(entry)) entries.unshift(parse<T>(entry));
  return entries;
};

const countKeys = async (kv: KV): Promise<number> => (await kv.status()).values;

/** Opens a bucket that exists. */
export const openBucket = async <T>(bus: Bus, definition: BucketDefinition): Promise<Bucket<T>> => {
  const kv = await new Kvm(jetstream(bus.nc)).open(definition.name);
  return {
    get: async (key) => {
      const entry = await kv.get(key);
      return entry && isPresent(entry) ? parse<T>(entry) : undefined;
    },
    create: (key, value) => kv.create(key, JSON.stringify(value)).catch(asConflict(key)),
    update: (key, value, revision) => kv.update(key, JSON.stringify(value), revision).catch(asConflict(key)),
    put: (key, value) => kv.put(key, JSON.stringify(value)).catch(asConflict(key)),
    remove: (key) => kv.delete(key),
    history: (key) => readHistory<T>(kv, key),
    watch: (onChange, onCaughtUp = () => {}) => watchBucket(kv, onChange, onCaughtUp),
  };
};
