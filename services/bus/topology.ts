import {
  DiscardPolicy,
  type JetStreamManager,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
} from "@nats-io/jetstream";
import { nanos } from "nats";
import { buckets, retiredStreams, stores, type StreamDefinition, streams } from "../../schemas/topology.ts";
import type { Bus } from "./connection.ts";
import { asBusError, isMissing } from "./jetstream-errors.ts";
import { createBucket } from "./kv.ts";
import { createStore } from "./objects.ts";

const streamConfig = (definition: StreamDefinition, replicas: number): Partial<StreamConfig> & { name: string } => ({
  name: definition.name,
  description: definition.description,
  subjects: [...definition.subjects],
  storage: definition.storage === "file" ? StorageType.File : StorageType.Memory,
  retention: definition.retention === "workqueue" ? RetentionPolicy.Workqueue : RetentionPolicy.Limits,
  discard: definition.discard === "new" ? DiscardPolicy.New : DiscardPolicy.Old,
  max_age: nanos(definition.maxAgeMs),
  max_bytes: definition.maxBytes,
  max_msgs_per_subject: definition.maxPerSubject ?? -1,
  duplicate_window: nanos(definition.duplicateWindowMs),
  num_replicas: replicas,
  allow_direct: true,
  no_ack: definition.noAck ?? false,
  allow_rollup_hdrs: definition.allowsRollup ?? false,
});

const ensureStream = async (
  manager: JetStreamManager,
  definition: StreamDefinition,
  replicas: number,
): Promise<void> => {
  const config = streamConfig(definition, replicas);
  const exists = await manager.streams.info(definition.name).then(
    () => true,
    (error: unknown) => {
      if (isMissing(error)) return false;
      throw error;
    },
  );
  // Another process may be making the same one now: the server takes an equal stream twice.
  await (exists ? manager.streams.update(definition.name, config) : manager.streams.add(config));
};

const retire = (manager: JetStreamManager, name: string): Promise<void> =>
  manager.streams.delete(name).then(
    () => {},
    (error: unknown) => {
      if (!isMissing(error)) throw error;
    },
  );

/**
 * Makes every stream, bucket and store that is missing and corrects those that differ. May run in several processes at
 * once and at every start. `replicas` is 1 on one server, 3 on a cluster. Rejects with `bus_unavailable` naming what
 * could not be made or changed: a stream's storage, for one, cannot be.
 */
export const ensureTopology = async (bus: Bus, replicas = 1): Promise<void> => {
  const manager = await jetstreamManager(bus.nc, { checkAPI: false });
  const ensure = async (what: string, act: () => Promise<void>): Promise<void> => {
    bus.assertConnected();
    await act().catch((cause: unknown) => {
      throw asBusError(`could not make or correct ${what}`, cause);
    });
  };
  // First: the server refuses a stream whose subjects another one has.
  for (const name of retiredStreams) await ensure(`room for what replaces stream ${name}`, () => retire(manager, name));
  for (const definition of Object.values(streams))
    await ensure(`stream ${definition.name}`, () => ensureStream(manager, definition, replicas));
  for (const definition of Object.values(buckets))
    await ensure(`bucket ${definition.name}`, () => createBucket(bus, definition, replicas));
  for (const definition of Object.values(stores))
    await ensure(`store ${definition.name}`, () => createStore(bus, definition, replicas));
};
