import { jetstream, JetStreamApiError, jetstreamManager } from "@nats-io/jetstream";
import { Objm, setSha256Backend } from "@nats-io/obj";
import { BuskerError } from "../../schemas/errors.ts";
import type { StoreDefinition } from "../../schemas/topology.ts";
import { askJetStream } from "./ask-jetstream.ts";
import type { Bus } from "./connection.ts";
import { storageFull } from "./jetstream-errors.ts";
import { storeStream } from "./jetstream-subjects.ts";
import { streamObject } from "./object-stream.ts";

/** Large values by name, in chunks on the bus. While the server is away, everything throws `bus_unavailable`. */
export interface ObjectStore {
  /** Bytes of an object; undefined when there is none. */
  readonly size: (name: string) => Promise<number | undefined>;
  /**
   * Stores the content when it has ended; when it errors, what was there stays, and nothing else. Rejects with the
   * content's own error, and with `queue_full` where there is no room. Reads no further than what is stored.
   */
  readonly put: (name: string, content: ReadableStream<Uint8Array>) => Promise<void>;
  /** Throws `not_found`. The stream errors when the content does not have the digest it was stored with. */
  readonly get: (name: string) => Promise<ReadableStream<Uint8Array>>;
  /** Without effect on what is not there. */
  readonly remove: (name: string) => Promise<void>;
  readonly list: () => Promise<readonly string[]>;
}

/** Makes a store, or corrects the one that is there. */
export const createStore = async (bus: Bus, definition: StoreDefinition, replicas: number): Promise<void> => {
  const { name, description } = definition;
  await new Objm(jetstream(bus.nc)).create(name, { description, replicas });
  const manager = await jetstreamManager(bus.nc, { checkAPI: false });
  await manager.streams.update(storeStream(name), { description, num_replicas: replicas });
};

const asFull = (cause: unknown): never => {
  if (cause instanceof JetStreamApiError && storageFull.has(cause.code))
    throw new BuskerError("queue_full", `there is no room for a body: ${cause.message}`, { cause });
  throw cause;
};

/** Opens a store that exists; rejects with `bus_unavailable` when it does not yet. */
export const openStore = async (bus: Bus, definition: StoreDefinition): Promise<ObjectStore> => {
  // The library's default is written in JavaScript, for browsers.
  setSha256Backend("native");
  const ask = <R>(what: string, act: () => Promise<R>): Promise<R> => askJetStream(bus, what, act);
  const store = await ask(`could not open store ${definition.name}`, () =>
    new Objm(jetstream(bus.nc)).open(definition.name),
  );
  const manager = await ask(`could not open store ${definition.name}`, () =>
    jetstreamManager(bus.nc, { checkAPI: false }),
  );
  return {
    size: async (name) => {
      const info = await ask(`could not look up object ${name}`, () => store.info(name));
      // What is left of a removed object has a size, too: none.
      return info === null || info.deleted ? undefined : info.size;
    },
    put: async (name, content) => {
      await ask(`could not store object ${name}`, () => store.put({ name }, content).catch(asFull));
    },
    get: async (name) => {
      const info = await ask(`could not read object ${name}`, () => store.info(name));
      if (info === null || info.deleted) throw new BuskerError("not_found", `there is no object ${name}`);
      return streamObject(bus, () => Promise.resolve(manager), info);
    },
    remove: async (name) => {
      await ask(`could not remove object ${name}`, () => store.delete(name));
    },
    list: async () =>
      (await ask(`could not list store ${definition.name}`, () => store.list())).map((info) => info.name),
  };
};
