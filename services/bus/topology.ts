import { DiscardPolicy, type JetStreamManager, jetstreamManager, RetentionPolicy, StorageType, type StreamConfig } from "@nats-io/jetstream";
import { nanos } from "nats";
import { buckets, stores, type StreamDefinition, streams } from "../../schemas/topology.ts";
import type { Bus } from "./connection.ts";
import { createBucket } from "./kv.ts";
import { createStore } from "./objects.ts";

const streamConfig = (definition: StreamDefinition, replicas: number): Partial<StreamConfig> & { name: string } => ({
  name: definition.name,
  description: definition.description,
  subjects: [...definition.subjects],
  storage: definition.storage === "file" ? StorageType.File : StorageType.Memory,
  retention: RetentionPolicy.Limits,
  discard: definition.discard === "new" ? DiscardPolicy.New : DiscardPolicy.Old,
  max_age: nanos(definition.maxAgeMs),
  max_bytes: definition.maxBytes,
  max_msgs_per_subject: definition.maxPerSubject ?? -1,
  duplicate_window: nanos(definition.duplicateWindowMs),
  num_replicas: replicas,
  allow_direct: true,
  no_ack: definition.noAck ?? false,
});

const ensureStream = async (manager: JetStreamManager, definition: StreamDefinition, replicas: number): Promise<void> => {
  const config = streamConfig(definition, replicas);
  const exists = await manager.streams.info(definition.name).then(
    () => true,
    (error: unknown) => {
      if (isNotFound(error)) return false;
      throw error;
    },
  );
  await (exists ? manager.streams.update(definition.name, config) : manager.streams.add(config));
};

const isNotFound = (error: unknown): boolean => error instanceof Error && /stream not found/i.test(error.message);

/**
 * Makes every stream, bucket and store that is missing and corrects those that differ. May run in several processes at
 * once and at every start. `replicas` is 1 on one server, 3 on a cluster.
 */
export const ensureTopology = async (bus: Bus, replicas = 1): Promise<void> => {
  const manager = await jetstreamManager(bus.nc);
  for (const definition of Object.values(streams)) await ensureStream(manager, definition, replicas);
  for (const definition of Object.values(buckets)) await createBucket(bus, definition, replicas);
  for (const definition of Object.values(stores)) await createStore(bus, definition, replicas);
};
