/*
 * The subjects of JetStream's own API (ADR-15, ADR-31 of nats-architecture-and-design) that one right needs. What may
 * be published; the answers come to the user's own inbox.
 *
 * Known limit: who may create a consumer may have the server deliver that stream's messages to any subject. So the
 * rights of a service guard against its mistakes; only functions, which get none of this, are treated as hostile.
 */

/** The stream behind a KV bucket. */
export const bucketStream = (bucket: string): string => `KV_${bucket}`;

/** The stream behind an object store. */
export const storeStream = (store: string): string => `OBJ_${store}`;

/** Everything of JetStream: streams, consumers, buckets, stores. */
export const administerJetStream: readonly string[] = ["$JS.API.>", "$JS.ACK.>", "$JS.FC.>", "$KV.>", "$O.>"];

/** The subjects of nats-server itself and of what is built into it. */
export const serverSubjects: readonly string[] = [
  "$SYS",
  "$JS",
  "$JSC",
  "$NRG",
  "$KV",
  "$O",
  "$MQTT",
  "$SRV",
  "$GNR",
  "$GR",
  "$LDS",
  "_R_",
  "_GR_",
].map((first) => `${first}.>`);

/** Ask whether JetStream is there: what the client library does first. */
export const jetStreamInfo = "$JS.API.INFO";

/** Read a stream: single messages, ordered consumers, its state. */
export const readStream = (stream: string): readonly string[] => [
  `$JS.API.STREAM.INFO.${stream}`,
  `$JS.API.STREAM.MSG.GET.${stream}`,
  `$JS.API.DIRECT.GET.${stream}`,
  `$JS.API.DIRECT.GET.${stream}.>`,
  `$JS.API.CONSUMER.CREATE.${stream}`,
  `$JS.API.CONSUMER.CREATE.${stream}.>`,
  `$JS.API.CONSUMER.INFO.${stream}.*`,
  `$JS.API.CONSUMER.DELETE.${stream}.*`,
  `$JS.API.CONSUMER.MSG.NEXT.${stream}.*`,
  `$JS.FC.${stream}.>`,
];

/** Where a pull consumer is asked for messages. */
export const nextSubject = (stream: string, consumer: string): string =>
  `$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`;

/** Read a stream by durable consumers, and acknowledge. */
export const consumeStream = (stream: string): readonly string[] => [
  ...readStream(stream),
  ...observeConsumers(stream),
  `$JS.API.CONSUMER.DURABLE.CREATE.${stream}.*`,
  `$JS.ACK.${stream}.>`,
];

/** Take messages out of a stream, by subject or by number. */
export const purgeStream = (stream: string): readonly string[] => [
  `$JS.API.STREAM.PURGE.${stream}`,
  deleteMessages(stream),
];

/** Take single messages out of a stream. */
export const deleteMessages = (stream: string): string => `$JS.API.STREAM.MSG.DELETE.${stream}`;

/** See how much waits in a stream and its consumers, without reading it. */
export const observeConsumers = (stream: string): readonly string[] => [
  `$JS.API.STREAM.INFO.${stream}`,
  `$JS.API.CONSUMER.NAMES.${stream}`,
  `$JS.API.CONSUMER.LIST.${stream}`,
  `$JS.API.CONSUMER.INFO.${stream}.*`,
];

/** Read and watch a KV bucket. */
export const readBucket = (bucket: string): readonly string[] => readStream(bucketStream(bucket));

/** Read a KV bucket and write its keys. */
export const writeBucket = (bucket: string): readonly string[] => [...readBucket(bucket), `$KV.${bucket}.>`];

/** Get and put objects of a store. Putting one again purges the chunks of the old. */
export const writeStore = (store: string): readonly string[] => [
  ...readStream(storeStream(store)),
  `$JS.API.STREAM.PURGE.${storeStream(store)}`,
  `$O.${store}.>`,
];
