import { jetstream } from "@nats-io/jetstream";
import { type ObjectStore as NatsObjectStore, Objm } from "@nats-io/obj";
import { BuskerError } from "../../schemas/errors.ts";
import type { StoreDefinition } from "../../schemas/topology.ts";
import type { Bus } from "./connection.ts";

/** Large values by name, in chunks on the bus. */
export interface ObjectStore {
  /** Bytes of an object; undefined when there is none. */
  readonly size: (name: string) => Promise<number | undefined>;
  readonly put: (name: string, content: ReadableStream<Uint8Array>) => Promise<void>;
  /** Throws `not_found`. The stream errors when the content does not have the digest it was stored with. */
  readonly get: (name: string) => Promise<ReadableStream<Uint8Array>>;
  readonly remove: (name: string) => Promise<void>;
  readonly list: () => Promise<readonly string[]>;
}

/** Makes a store, or leaves the one that is there. */
export const createStore = async (bus: Bus, definition: StoreDefinition, replicas: number): Promise<void> => {
  await new Objm(jetstream(bus.nc)).create(definition.name, { description: definition.description, replicas });
};

const read = async (store: NatsObjectStore, name: string): Promise<ReadableStream<Uint8Array>> => {
  const found = await store.get(name);
  if (!found) throw new BuskerError("not_found", `there is no object ${name}`);
  return found.data;
};

/** Opens a store that exists. */
export const openStore = async (bus: Bus, definition: StoreDefinition): Promise<ObjectStore> => {
  const store = await new Objm(jetstream(bus.nc)).open(definition.name);
  return {
    size: async (name) => (await store.info(name))?.size,
    put: async (name, content) => {
      await store.put({ name }, content);
    },
    get: (name) => read(store, name),
    remove: async (name) => {
      await store.delete(name);
    },
    list: async () => (await store.list()).map((info) => info.name),
  };
};
