import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { type KV, Kvm } from "@nats-io/kv";
import { nanos } from "nats";
import { BuskerError } from "../../schemas/errors.ts";
import type { BucketDefinition } from "../../schemas/topology.ts";
import type { Bus } from "./connection.ts";
import { followerJetStream } from "./follow-jetstream.ts";
import { asBusError, isWrongRevision } from "./jetstream-errors.ts";
import { bucketStream } from "./jetstream-subjects.ts";
import { type Change, type Entry, isPresent, readEntry } from "./kv-entry.ts";
import { watchBucket } from "./kv-watch.ts";

export type { Change, Entry } from "./kv-entry.ts";

/** A bucket of JSON values. While the server is away, everything but a running watch throws `bus_unavailable`. */
export interface Bucket<T> {
  /** Undefined when there is no such key. */
  readonly get: (key: string) => Promise<Entry<T> | undefined>;
  /** Writes a key that must not exist; throws `conflict` when it does. Gives the revision. */
  readonly create: (key: string, value: T) => Promise<number>;
  /** Writes over the revision given; throws `conflict` when somebody was faster. Gives the new revision. */
  readonly update: (key: string, value: T, revision: number) => Promise<number>;
  /** Writes whatever was there. */
  readonly put: (key: string, value: T) => Promise<number>;
  /** Whatever was there; with a revision only that, or throws `conflict`. */
  readonly remove: (key: string, revision?: number) => Promise<void>;
  /** The values that a key had, newest first, as far back as the bucket keeps them; removals are left out. */
  readonly history: (key: string) => Promise<readonly Entry<T>[]>;
  /**
   * Calls `onChange` for every present key and then for every change, in order; `onCaughtUp` once, when the present
   * keys were told. Goes on over a restart of the server: what changed meanwhile is told, what did not is not. A value
   * that ran out (`ttlMs`) is not told: NATS says nothing of it. Gives a function that stops it.
   */
  readonly watch: (onChange: (change: Change<T>) => void, onCaughtUp?: () => void) => Promise<() => void>;
}

// The server's own, for want of another.
const defaultWindowMs = 120_000;

/** Makes a bucket, or corrects the one that is there. */
export const createBucket = async (bus: Bus, definition: BucketDefinition, replicas: number): Promise<void> => {
  await new Kvm(jetstream(bus.nc)).create(definition.name, {
    description: definition.description,
    history: definition.history,
    ttl: definition.ttlMs,
    replicas,
  });
  const manager = await jetstreamManager(bus.nc, { checkAPI: false });
  await manager.streams.update(bucketStream(definition.name), {
    description: definition.description,
    max_msgs_per_subject: definition.history,
    max_age: nanos(definition.ttlMs),
    // It may not be longer than the age; the server sees to that when it makes a stream, but not when it changes one.
    duplicate_window: nanos(Math.min(definition.ttlMs || defaultWindowMs, defaultWindowMs)),
    num_replicas: replicas,
  });
};

// What the server takes as a key (ADR-8 of nats-architecture-and-design).
const keyPattern = /^[-/_=A-Za-z0-9]+(\.[-/_=A-Za-z0-9]+)*$/;

const checkKey = (key: string): void => {
  if (!keyPattern.test(key))
    throw new BuskerError(
      "invalid_request",
      `a key must be tokens of A-Z, a-z, 0-9, -, /, _ and =, joined by dots; got ${JSON.stringify(key)}`,
    );
};

const asWriteError = (key: string, cause: unknown): BuskerError =>
  isWrongRevision(cause)
    ? new BuskerError("conflict", `${key} was changed by somebody else at the same time`, { cause })
    : asBusError(`could not write ${key}`, cause);

const readHistory = async <T>(kv: KV, key: string): Promise<readonly Entry<T>[]> => {
  const entries: Entry<T>[] = [];
  for await (const entry of await kv.history({ key })) if (isPresent(entry)) entries.unshift(readEntry<T>(entry));
  return entries;
};

/** Opens a bucket that exists; whether it does, the first use tells. */
export const openBucket = async <T>(bus: Bus, definition: BucketDefinition): Promise<Bucket<T>> => {
  const kv = await new Kvm(jetstream(bus.nc)).open(definition.name);
  const ask = async <R>(key: string, act: () => Promise<R>, toError: (cause: unknown) => BuskerError): Promise<R> => {
    checkKey(key);
    bus.assertConnected();
    try {
      return await act();
    } catch (cause) {
      throw toError(cause);
    }
  };
  const write = <R>(key: string, act: () => Promise<R>): Promise<R> =>
    ask(key, act, (cause) => asWriteError(key, cause));
  const read = <R>(key: string, act: () => Promise<R>): Promise<R> =>
    ask(key, act, (cause) => asBusError(`could not read ${key} of bucket ${definition.name}`, cause));
  return {
    get: async (key) => {
      const entry = await read(key, () => kv.get(key));
      return entry && isPresent(entry) ? readEntry<T>(entry) : undefined;
    },
    create: (key, value) => write(key, () => kv.create(key, JSON.stringify(value))),
    update: (key, value, revision) => write(key, async () => kv.update(key, JSON.stringify(value), revision)),
    put: (key, value) => write(key, () => kv.put(key, JSON.stringify(value))),
    remove: (key, revision) =>
      write(key, () => kv.delete(key, revision === undefined ? {} : { previousSeq: revision })),
    history: (key) => read(key, () => readHistory<T>(kv, key)),
    watch: async (onChange, onCaughtUp = () => {}) => {
      bus.assertConnected();
      const followed = await new Kvm(followerJetStream(bus)).open(definition.name);
      return watchBucket(bus, definition.name, followed, { onChange, onCaughtUp });
    },
  };
};
