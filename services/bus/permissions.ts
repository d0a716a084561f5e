import type { FunctionName } from "../../schemas/names.ts";
import * as subjects from "../../schemas/subjects.ts";
import { buckets, stores, streams } from "../../schemas/topology.ts";
import * as js from "./jetstream-subjects.ts";

/** What one user may publish and subscribe to; everything else the server refuses. */
export interface Permissions {
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
  /** What it may not publish to in spite of `publish`. */
  readonly denyPublish?: readonly string[];
}

/** The platform's own users, each with a file of credentials in the data folder. */
export const platformUsers = [
  "gateway",
  "provider",
  "queue-worker",
  "outcomes",
  "scaler",
  "triggers",
  "admin",
  "invoke",
] as const;
export type PlatformUser = (typeof platformUsers)[number];

/** What everybody needs who calls functions by slots (design §3). */
const callFunctions: readonly string[] = [
  subjects.invokeAnyFilter,
  subjects.demandAnyFilter,
  subjects.replicaControlAnyFilter,
];

const readWish: readonly string[] = [
  js.jetStreamInfo,
  ...js.readBucket(buckets.functions.name),
  ...js.readBucket(buckets.status.name),
  ...js.readBucket(buckets.namespaces.name),
];

/** What accepting a durable call takes, from whoever it comes: the call, its record, and that it is queued. */
const acceptCalls: readonly string[] = [
  subjects.queueAnyFilter,
  subjects.resultAnyFilter,
  ...subjects.callStateFilters,
  ...js.readStream(streams.RESULTS.name),
];

const gateway: Permissions = {
  publish: [
    ...callFunctions,
    ...acceptCalls,
    subjects.metricAnyFilter,
    subjects.cancelAnyFilter,
    subjects.explainAnyFilter,
    // A dead letter that is about an outcome is replayed by having it told again.
    subjects.outcomeAnyFilter,
    ...subjects.wishVerbs.map(subjects.functionVerbFilter),
    ...subjects.secretRequestVerbs.map(subjects.secretVerbFilter),
    ...readWish,
    ...[
      streams.OPERATIONS,
      streams.REPLICAS,
      streams.CALLS,
      streams.RECORD,
      streams.PARTS,
      streams.DEAD,
      streams.LOGS,
      streams.SAMPLES,
      streams.LOAD,
      streams.STREAMS,
    ].flatMap((stream) => js.readStream(stream.name)),
    ...js.purgeStream(streams.DEAD.name),
    ...js.observeConsumers(streams.INVOCATIONS.name),
    ...js.writeStore(stores.bundles.name),
    ...js.writeStore(stores.payloads.name),
    ...js.writeBucket(buckets.totals.name),
    ...js.writeBucket(buckets.leases.name),
  ],
  subscribe: [
    subjects.inboxFilter("gateway"),
    subjects.replicaAnyFilter,
    subjects.functionAnyFilter,
    subjects.callAnyFilter,
    subjects.logAnyFilter,
    subjects.spanAnyFilter,
  ],
};

const provider: Permissions = {
  // It stands in for absent replicas, so it answers their callers (design §3).
  publish: [
    subjects.platformAnyFilter,
    ...js.administerJetStream,
    subjects.callReplyAnyFilter,
    subjects.answerAnyFilter,
    subjects.plainInboxFilter,
  ],
  subscribe: [subjects.inboxFilter("provider"), subjects.platformAnyFilter],
};

const queueWorker: Permissions = {
  publish: [
    ...callFunctions,
    ...acceptCalls,
    subjects.metricAnyFilter,
    subjects.partsAnyFilter,
    subjects.deadAnyFilter,
    subjects.outcomeAnyFilter,
    // Who publishes a call to the door is answered when it is accepted.
    subjects.plainInboxFilter,
    subjects.callReplyAnyFilter,
    ...readWish,
    ...[streams.DOOR, streams.INVOCATIONS, streams.OUTCOMES].flatMap((stream) => [
      ...js.consumeStream(stream.name),
      js.deleteMessages(stream.name),
    ]),
    ...[streams.CALLS, streams.PARTS, streams.DEAD].flatMap((stream) => js.readStream(stream.name)),
    ...[streams.RESULTS, streams.PARTS].flatMap((stream) => js.purgeStream(stream.name)),
    ...js.writeStore(stores.payloads.name),
    ...js.writeBucket(buckets.leases.name),
  ],
  subscribe: [
    subjects.inboxFilter("queue-worker"),
    subjects.replicaAnyFilter,
    subjects.functionAnyFilter,
    subjects.callAnyFilter,
    // Whom to answer: a stream does not keep where the answer to a message goes.
    subjects.asyncAnyFilter,
    subjects.cancelAnyFilter,
  ],
};

// Of all users of the platform (`inboxPrefix`).
const platformInboxes = "_BUSKER.>";

/**
 * Publishes outcomes to subjects that deployers of functions have chosen. It is a user of its own, so that the server, too,
 * keeps them off the platform's subjects, whatever a check has let through.
 */
const outcomes: Permissions = {
  publish: [">"],
  denyPublish: [subjects.platformAnyFilter, subjects.plainInboxFilter, platformInboxes, ...js.serverSubjects],
  subscribe: [subjects.inboxFilter("outcomes")],
};

const scaler: Permissions = {
  publish: [
    subjects.functionVerbFilter("scale"),
    // Who asks why a function has as many replicas as it has.
    subjects.answerAnyFilter,
    subjects.plainInboxFilter,
    ...readWish,
    subjects.loadAnyFilter,
    // When a function was last called, for a scaler that starts, is in RECORD and CALLS.
    ...[streams.SAMPLES, streams.LOAD, streams.RECORD, streams.CALLS].flatMap((stream) => js.readStream(stream.name)),
    ...js.observeConsumers(streams.INVOCATIONS.name),
    ...js.writeBucket(buckets.leases.name),
  ],
  subscribe: [
    subjects.inboxFilter("scaler"),
    subjects.metricAnyFilter,
    subjects.loadAnyFilter,
    subjects.explainAnyFilter,
  ],
};

const triggers: Permissions = {
  publish: [...callFunctions, ...acceptCalls, ...readWish, ...js.writeBucket(buckets.leases.name)],
  subscribe: [subjects.inboxFilter("triggers"), subjects.replicaAnyFilter, subjects.functionAnyFilter],
};

/** What each of the platform's users may do (design §2, §6). */
export const platformPermissions: Readonly<Record<PlatformUser, Permissions>> = {
  gateway,
  provider,
  "queue-worker": queueWorker,
  outcomes,
  scaler,
  triggers,
  admin: { publish: [">"], subscribe: [">"] },
  // For any program: a plain NATS client with NATS' own inbox, or the client module. Its holders can read each other's
  // replies.
  invoke: {
    publish: [...callFunctions, subjects.asyncAnyFilter],
    subscribe: [subjects.inboxFilter("invoke"), subjects.plainInboxFilter, subjects.replicaAnyFilter],
  },
};

/**
 * What a replica may do that has still to enrol: ask for launches of its function and for its bundle, and hear the
 * answers. All replicas of the function share it, so that each launch is sealed for who asked.
 */
export const enrolPermissions = ({ namespace, name, user }: FunctionName & { readonly user: string }): Permissions => ({
  publish: [subjects.enrolSubject(namespace, name), subjects.bundleSubject(namespace, name)],
  subscribe: [subjects.inboxFilter(user)],
});

/** One replica of one function. */
export interface ReplicaName {
  readonly namespace: string;
  readonly name: string;
  readonly replica: string;
}

/**
 * What a replica may do: take and answer calls of its function, and tell of itself.
 *
 * There is no response permission in it, and streams that it publishes to send no acknowledgement: either lets a
 * message's sender choose a subject that is then published to with rights the sender has not. A function would send
 * itself a call with the reply subject `$KV.functions.x`, answer it, and so write that key (seen on 2.9.10).
 */
export const replicaPermissions = ({ namespace, name, replica }: ReplicaName): Permissions => ({
  publish: [
    subjects.callReplyFilter(namespace, name),
    // Plain clients take replies there; only the randomness of their inbox keeps others from answering.
    subjects.plainInboxFilter,
    // A full replica passes a call on.
    subjects.invokeSubject(namespace, name),
    subjects.metricSubject(namespace, name, replica),
    subjects.logSubject(namespace, name, replica),
    subjects.spanSubject(namespace, name, replica),
    subjects.replicaOwnFilter(namespace, name, replica),
    subjects.callSubject("done", namespace, name),
    subjects.recordedFilter(namespace, name),
    subjects.keptFilter(namespace, name),
  ],
  subscribe: [
    // With the queue group's name the server allows the subscription in that group only.
    `${subjects.invokeSubject(namespace, name)} ${subjects.replicaQueueGroup}`,
    subjects.invokeReplicaSubject(namespace, name, replica),
    subjects.callInboxFilter(namespace, name, replica),
    subjects.replicaControlSubject(replica),
    subjects.replicaOrderSubject(replica),
    subjects.demandSubject(namespace, name),
    subjects.inboxFilter(replica),
  ],
});
