import { loadLogMs } from "./load.ts";
import {
  asyncAnyFilter,
  callDoneFilter,
  callStateFilters,
  deadAnyFilter,
  functionAnyFilter,
  keptHeadAnyFilter,
  keptPartsAnyFilter,
  loadAnyFilter,
  logAnyFilter,
  metricAnyFilter,
  outcomeAnyFilter,
  partsAnyFilter,
  queueAnyFilter,
  recordedAnyFilter,
  replicaAnyFilter,
  resultAnyFilter,
  secretOutcomeFilters,
} from "./subjects.ts";

/** A stream as Busker makes it. Ages in milliseconds, sizes in bytes. */
export interface StreamDefinition {
  readonly name: string;
  readonly description: string;
  readonly subjects: readonly string[];
  /** When a message goes: by age and size, or when it is acknowledged; absent: `limits`. */
  readonly retention?: "limits" | "workqueue";
  readonly storage: "file" | "memory";
  /** 0: any. */
  readonly maxAgeMs: number;
  readonly maxBytes: number;
  /** Newest messages kept per subject; absent: all. */
  readonly maxPerSubject?: number;
  /** How long a message id is remembered, to swallow repeats. */
  readonly duplicateWindowMs: number;
  /** At its byte limit: drop the oldest, or refuse the new. */
  readonly discard: "old" | "new";
  /**
   * No acknowledgement is sent to publishers. Required where functions may publish: the server sends an acknowledgement
   * to whatever subject the publisher named, with the server's own rights, so that a function could write a KV key or
   * purge a stream with it (seen on 2.9.10: `{"stream":…,"seq":11}` sent to a purge request empties the stream up to 11).
   */
  readonly noAck?: true;
  /** A message may say that it stands for all before it of its subject, which then go (`Nats-Rollup: sub`). */
  readonly allowsRollup?: true;
}

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;

/** The longest that the record of a durable call is kept after its last change, in milliseconds. */
export const maxResultAgeMs = 7 * day;

const mebibyte = 1024 * 1024;

/**
 * The streams. Those that hold work that was accepted refuse new messages at their limit, because dropping an old one would
 * lose it; the others are records and drop the oldest.
 *
 * DOOR, INVOCATIONS and OUTCOMES are work queues: a message is gone when it is acknowledged, so that the stream itself
 * says what is still to be done. Consumers of them hold nothing that is not there, and may go and be made again; under
 * limits retention they would hold the only knowledge of what is over, and a week of finished calls would fill the stream
 * and have it refuse new ones.
 */
export const streams = {
  DOOR: {
    name: "DOOR",
    description: "Durable invocations published by anybody, until a queue-worker has taken them in",
    subjects: [asyncAnyFilter],
    retention: "workqueue",
    storage: "file",
    maxAgeMs: 0,
    maxBytes: 256 * mebibyte,
    duplicateWindowMs: 10 * minute,
    discard: "new",
    // A queue-worker answers in its stead, when the call is accepted.
    noAck: true,
  },
  INVOCATIONS: {
    name: "INVOCATIONS",
    description: "Durable invocations that were accepted, until they are over",
    subjects: [queueAnyFilter],
    retention: "workqueue",
    storage: "file",
    maxAgeMs: 0,
    maxBytes: 2048 * mebibyte,
    duplicateWindowMs: 10 * minute,
    discard: "new",
  },
  CALLS: {
    name: "CALLS",
    description: "What became of durable calls",
    subjects: callStateFilters,
    storage: "file",
    maxAgeMs: 7 * day,
    maxBytes: 1024 * mebibyte,
    duplicateWindowMs: 10 * minute,
    discard: "old",
  },
  RECORD: {
    name: "RECORD",
    description:
      "Synchronous calls that replicas have finished, in batches, and whole ones of functions that record them",
    subjects: [callDoneFilter, recordedAnyFilter],
    storage: "file",
    maxAgeMs: 2 * day,
    maxBytes: 512 * mebibyte,
    duplicateWindowMs: 10_000,
    discard: "old",
    noAck: true,
  },
  RESULTS: {
    name: "RESULTS",
    description: "The record of each durable invocation, the newest: its state, and at its end its response",
    subjects: [resultAnyFilter],
    storage: "file",
    maxAgeMs: maxResultAgeMs,
    maxBytes: 1024 * mebibyte,
    maxPerSubject: 1,
    duplicateWindowMs: 10_000,
    discard: "old",
  },
  PARTS: {
    name: "PARTS",
    description: "Responses of durable invocations that are large or being written",
    subjects: [partsAnyFilter],
    storage: "file",
    maxAgeMs: maxResultAgeMs,
    maxBytes: 1024 * mebibyte,
    duplicateWindowMs: 10_000,
    discard: "old",
    // A response that is begun again takes the place of what was written of it.
    allowsRollup: true,
  },
  DEAD: {
    name: "DEAD",
    description: "Invocations that ran out of attempts, whole",
    subjects: [deadAnyFilter],
    storage: "file",
    maxAgeMs: 30 * day,
    maxBytes: 1024 * mebibyte,
    maxPerSubject: 1,
    duplicateWindowMs: 10 * minute,
    discard: "new",
  },
  OUTCOMES: {
    name: "OUTCOMES",
    description: "Outcomes of durable invocations that somebody is still to be told",
    subjects: [outcomeAnyFilter],
    retention: "workqueue",
    storage: "file",
    maxAgeMs: 0,
    maxBytes: 512 * mebibyte,
    duplicateWindowMs: 10 * minute,
    discard: "new",
  },
  OPERATIONS: {
    name: "OPERATIONS",
    description: "Wishes about functions, their outcomes, and what was done to secrets, without values: the audit log",
    subjects: [functionAnyFilter, ...secretOutcomeFilters],
    storage: "file",
    maxAgeMs: 30 * day,
    maxBytes: 256 * mebibyte,
    duplicateWindowMs: 2 * minute,
    discard: "old",
  },
  REPLICAS: {
    name: "REPLICAS",
    description: "The lives of replicas",
    subjects: [replicaAnyFilter],
    storage: "file",
    maxAgeMs: 30 * day,
    maxBytes: 256 * mebibyte,
    duplicateWindowMs: 10_000,
    discard: "old",
    noAck: true,
  },
  SAMPLES: {
    name: "SAMPLES",
    description: "What is measured of functions: a sample of each source a second",
    subjects: [metricAnyFilter],
    storage: "file",
    maxAgeMs: hour,
    maxBytes: 512 * mebibyte,
    duplicateWindowMs: 10_000,
    discard: "old",
    noAck: true,
  },
  LOAD: {
    name: "LOAD",
    description: "The load of functions: a minute each, by which their rhythms are learnt",
    subjects: [loadAnyFilter],
    storage: "file",
    maxAgeMs: loadLogMs,
    maxBytes: 1024 * mebibyte,
    // Whoever takes over from another scaler may write its last minutes again.
    duplicateWindowMs: 10 * minute,
    discard: "old",
  },
  LOGS: {
    name: "LOGS",
    description: "Lines written by functions",
    subjects: [logAnyFilter],
    storage: "file",
    maxAgeMs: 2 * day,
    maxBytes: 512 * mebibyte,
    duplicateWindowMs: 10_000,
    discard: "old",
    noAck: true,
  },
  STREAMS: {
    name: "STREAMS",
    description: "Events of answers that their readers may come back to",
    subjects: [keptPartsAnyFilter, keptHeadAnyFilter],
    storage: "file",
    maxAgeMs: 10 * minute,
    maxBytes: 1024 * mebibyte,
    // Ten thousand events of an answer, and its end.
    maxPerSubject: 10_001,
    duplicateWindowMs: 10_000,
    discard: "old",
    noAck: true,
  },
} as const satisfies Record<string, StreamDefinition>;

/** Streams that earlier versions made, and that stand in the way of these: METRICS kept samples in memory. */
export const retiredStreams: readonly string[] = ["METRICS"];

/** A key-value bucket as Busker makes it. */
export interface BucketDefinition {
  readonly name: string;
  readonly description: string;
  /** Values kept per key, the newest included. */
  readonly history: number;
  /** How long a value lives, in milliseconds; 0: until it is deleted. */
  readonly ttlMs: number;
}

/**
 * The key-value buckets. `functions` is the only truth about what should run. `status` is derived: the provider writes
 * what it observes, so that a gateway that has just started knows ready replicas and last errors without asking.
 */
export const buckets = {
  functions: { name: "functions", description: "The wish: one function per key", history: 5, ttlMs: 0 },
  status: { name: "status", description: "What was observed: one function per key", history: 1, ttlMs: 0 },
  namespaces: { name: "namespaces", description: "One namespace per key", history: 1, ttlMs: 0 },
  secrets: { name: "secrets", description: "Sealed secrets: one secret per key", history: 1, ttlMs: 0 },
  totals: { name: "totals", description: "What was counted of each function: a snapshot a key", history: 1, ttlMs: 0 },
  // Another takes a role over within this time when its holder is gone without a word; it is renewed five times in it.
  leases: { name: "leases", description: "Who is the one holder of a role", history: 1, ttlMs: 5000 },
} as const satisfies Record<string, BucketDefinition>;

/** An object store as Busker makes it. */
export interface StoreDefinition {
  readonly name: string;
  readonly description: string;
}

/** The object stores. */
export const stores = {
  bundles: { name: "bundles", description: "Function code, by content hash" },
  payloads: { name: "payloads", description: "Bodies too large for one message, while a durable call needs them" },
} as const satisfies Record<string, StoreDefinition>;

/** Largest message the server of this project's `nats.conf` accepts, in bytes: bodies and headers together. */
export const maxPayloadBytes = 8 * mebibyte;

/** Most bytes of headers that a stream takes with a message: nats-server refuses more, whatever a message may hold. */
export const maxStreamHeaderBytes = 65_535;

/** Room kept in one message for its headers, in bytes; a body may have the rest. */
export const maxHeaderBytes = 256 * 1024;

/** Largest body that travels in one message, in bytes. */
export const maxBodyBytes = maxPayloadBytes - maxHeaderBytes;
