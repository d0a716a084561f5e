import {
  asyncAnyFilter,
  callDoneFilter,
  callStateFilters,
  deadAnyFilter,
  functionAnyFilter,
  keptHeadAnyFilter,
  keptPartsAnyFilter,
  logAnyFilter,
  metricAnyFilter,
  replicaAnyFilter,
  resultAnyFilter,
  secretOutcomeFilters,
} from "./subjects.ts";

/** A stream as Busker makes it. Ages in milliseconds, sizes in bytes; all use limits retention (design §2). */
export interface StreamDefinition {
  readonly name: string;
  readonly description: string;
  readonly subjects: readonly string[];
  readonly storage: "file" | "memory";
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
}

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;
const mebibyte = 1024 * 1024;

/**
 * The streams. INVOCATIONS and DEAD refuse new messages at their limit, because dropping an old one would lose work
 * that was accepted; the others are records and drop the oldest.
 */
export const streams = {
  INVOCATIONS: {
    name: "INVOCATIONS",
    description: "Durable invocations as they were asked for",
    subjects: [asyncAnyFilter],
    storage: "file",
    maxAgeMs: 7 * day,
    maxBytes: 4096 * mebibyte,
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
    description: "Synchronous calls that replicas have finished, in batches",
    subjects: [callDoneFilter],
    storage: "file",
    maxAgeMs: 2 * day,
    maxBytes: 512 * mebibyte,
    duplicateWindowMs: 10_000,
    discard: "old",
    noAck: true,
  },
  RESULTS: {
    name: "RESULTS",
    description: "Responses of durable invocations, the newest of each call",
    subjects: [resultAnyFilter],
    storage: "file",
    maxAgeMs: day,
    maxBytes: 1024 * mebibyte,
    maxPerSubject: 1,
    duplicateWindowMs: 10 * minute,
    discard: "old",
  },
  DEAD: {
    name: "DEAD",
    description: "Invocations that ran out of attempts, whole",
    subjects: [deadAnyFilter],
    storage: "file",
    maxAgeMs: 30 * day,
    maxBytes: 1024 * mebibyte,
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
  METRICS: {
    name: "METRICS",
    description: "One sample per replica and second",
    subjects: [metricAnyFilter],
    storage: "memory",
    maxAgeMs: 10 * minute,
    maxBytes: 64 * mebibyte,
    duplicateWindowMs: 10_000,
    discard: "old",
    noAck: true,
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
  leases: { name: "leases", description: "Who is the one holder of a role", history: 1, ttlMs: 10_000 },
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

/** Room kept in one message for its headers, in bytes; a body may have the rest. */
export const maxHeaderBytes = 256 * 1024;

/** Largest body that travels in one message, in bytes. */
export const maxBodyBytes = maxPayloadBytes - maxHeaderBytes;
