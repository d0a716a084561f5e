import type { EventData, EventType } from "./events.ts";

/** A type with nothing left out, at any depth: an example of it shows every property there is. */
export type Full<T> = T extends readonly (infer Item)[]
  ? readonly Full<Item>[]
  : T extends object
    ? { readonly [Key in keyof T]-?: Full<Exclude<T[Key], undefined>> }
    : T;

/** A type with only what is required, at any depth; a map is empty. */
export type Bare<T> = T extends readonly (infer Item)[]
  ? readonly Bare<Item>[]
  : T extends object
    ? { readonly [Key in keyof T as object extends Pick<T, Key> ? never : Key]: Bare<T[Key]> }
    : T;

/** Two examples of one shape, kept complete by the type checker. */
export interface Examples<T> {
  readonly full: Full<T>;
  readonly bare: Bare<T>;
}

const spec = {
  full: {
    name: "resize",
    namespace: "openfaas-fn",
    image: "bundle:sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
    envProcess: "node index.mjs",
    envVars: { max_inflight: "4", exec_timeout: "30s" },
    constraints: ["node.labels.disk==ssd"],
    secrets: ["api-key"],
    labels: { "com.openfaas.scale.min": "1" },
    annotations: { "com.busker.record": "bodies" },
    limits: { memory: "128Mi", cpu: "500m", "nvidia.com/gpu": "1", "amd.com/gpu": "1", "intel.com/gpu": "1" },
    requests: { memory: "64Mi", cpu: "0.1", "nvidia.com/gpu": "1", "amd.com/gpu": "1", "intel.com/gpu": "1" },
    readOnlyRootFilesystem: true,
  },
  bare: { name: "resize", namespace: "openfaas-fn", image: "ghcr.io/example/resize:1" },
} as const satisfies Examples<EventData["io.busker.function.deploy"]["spec"]>;

const wish = "0d9c6c2e-5f0e-4b7c-9d9e-2f6f0a3c1b11";
const outcome = { wish, replicas: 2, availableReplicas: 1 };
const outcomes = { full: outcome, bare: outcome };
const deploy = { full: { spec: spec.full }, bare: { spec: spec.bare } };
const replica = { revision: wish, slots: 4, inFlight: 0 };
const replicas = { full: { ...replica, reason: "exit code 1", order: 1 }, bare: replica };
const line = { at: "2026-01-31T12:00:00.123Z", stream: "stderr", text: "resized 3 images" } as const;
const failed = {
  wish,
  verb: "deploy",
  code: "start_failed",
  message: "resize.openfaas-fn did not start: exit code 1",
} as const;
const progress = { wish, message: "pulling ghcr.io/example/resize:1: 3 of 5 layers, 42 of 120 MB" };
const sealed = {
  key: "9f86d081884c7d65",
  ephemeral: "3q2+796tvu/erb7v3q2+796tvu/erb7v3q2+796tvu8=",
  ciphertext: "q83vASNFZ4mrze8BI0VniavN7wEjRWeJ",
};
const secretWish = { name: "api-key", sealed };
const secretWishes = { full: secretWish, bare: secretWish };
const secretOutcome = { wish, name: "api-key" };
const secretOutcomes = { full: secretOutcome, bare: secretOutcome };
const enrol = { task: "xkbvthoalgxce8mbmrz55hgzr", key: sealed.ephemeral, ticket: "eyJyZXZpc2lvbiI6IncxIn0=.q83v" };
const bundle = { ticket: enrol.ticket, offset: 737_280 };
const head = { start: "k3m9qz1v", n: 7, seconds: 1 };
const durations = { counts: [3, 0, 8, 1], sum: 0.031 };
const sample = {
  ...head,
  started: 12,
  durations,
  waits: { counts: [12], sum: 0.002 },
  inFlight: 1,
  slots: 4,
  cpuSeconds: 0.08,
  memoryBytes: 41_943_040,
};
const callerSample = { ...head, waiting: 2, oldestWaitMs: 40, inFlight: 4, started: 12 };
const queueSample = { ...head, depth: 3, oldestMs: 250 };
const load = { minute: 29_497_680, quiet: 59, started: 12, peak: 3, meanMs: 40.5, first: 0, last: 12 };
const mark = { createdAt: "2026-01-31T12:00:00.123Z" };
const finished = {
  replica: "resize-1",
  calls: [{ id: wish, status: 200, startedMs: 1_769_860_800_123, durationMs: 12.5 }],
};
const span = {
  traceId: "0af7651916cd43dd8448eb211c80319c",
  spanId: "b7ad6b7169203331",
  name: "resize",
  kind: "server",
  startMs: 1_769_860_800_123.25,
  endMs: 1_769_860_800_135.75,
} as const;
const spanDetails = {
  parentId: "00f067aa0ba902b7",
  attributes: {},
  error: "deadline_exceeded",
  links: [{ traceId: span.traceId, spanId: "00f067aa0ba902b7" }],
};
const bareChange = { id: wish, atMs: 1_769_860_800_123, attempts: 1 };
const callChanges = {
  full: {
    ...bareChange,
    status: 503,
    error: { code: "replica_lost", message: "replica resize-1 went away: exit code 1" },
    waitedMs: 1.5,
    durationMs: 12.5,
    nextMs: 1_769_860_810_123,
    parent: "an-earlier-call",
    replayOf: "a-dead-call",
    priority: "normal",
  },
  bare: bareChange,
} as const;

/** Examples of each type's data; a test holds the JSON Schemas against them. */
export const eventExamples: { readonly [T in EventType]: Examples<EventData[T]> } = {
  "io.busker.function.deploy": deploy,
  "io.busker.function.update": deploy,
  "io.busker.function.remove": { full: {}, bare: {} },
  "io.busker.function.scale": {
    full: { replicas: 3, from: 2, reason: "up: the load asks for more" },
    bare: { replicas: 0 },
  },
  "io.busker.scaler.explain": { full: {}, bare: {} },
  "io.busker.function.deployed": outcomes,
  "io.busker.function.updated": outcomes,
  "io.busker.function.removed": outcomes,
  "io.busker.function.scaled": outcomes,
  "io.busker.function.failed": { full: failed, bare: failed },
  "io.busker.function.progress": { full: progress, bare: progress },
  "io.busker.secret.create": secretWishes,
  "io.busker.secret.update": secretWishes,
  "io.busker.secret.remove": { full: { name: "api-key" }, bare: { name: "api-key" } },
  "io.busker.secret.list": { full: {}, bare: {} },
  "io.busker.secret.created": secretOutcomes,
  "io.busker.secret.updated": secretOutcomes,
  "io.busker.secret.removed": secretOutcomes,
  "io.busker.enrol": { full: enrol, bare: enrol },
  "io.busker.bundle": { full: bundle, bare: bundle },
  "io.busker.replica.starting": replicas,
  "io.busker.replica.ready": replicas,
  "io.busker.replica.draining": replicas,
  "io.busker.replica.frozen": replicas,
  "io.busker.replica.exited": replicas,
  "io.busker.demand": { full: { waiting: 1 }, bare: { waiting: 1 } },
  "io.busker.metric": { full: { ...sample, finished: { "200": 11, "500": 1 } }, bare: { ...sample, finished: {} } },
  "io.busker.metric.caller": {
    full: { ...callerSample, answered: { "200": durations }, accepted: 3 },
    bare: { ...callerSample, answered: {} },
  },
  "io.busker.metric.queue": { full: { ...queueSample, due: 2 }, bare: queueSample },
  "io.busker.metric.deployed": { full: mark, bare: mark },
  "io.busker.span": {
    full: { spans: [{ ...span, ...spanDetails }], dropped: 2 },
    bare: { spans: [{ ...span, attributes: {} }], dropped: 0 },
  },
  "io.busker.load": { full: { ...load, startMs: 310 }, bare: load },
  "io.busker.log": { full: { lines: [{ ...line, callId: wish }] }, bare: { lines: [line] } },
  "io.busker.call.queued": callChanges,
  "io.busker.call.started": callChanges,
  "io.busker.call.retrying": callChanges,
  "io.busker.call.succeeded": callChanges,
  "io.busker.call.dead": callChanges,
  "io.busker.call.cancelled": callChanges,
  "io.busker.cancel": { full: { id: wish }, bare: { id: wish } },
  "io.busker.call.done": { full: finished, bare: finished },
};
