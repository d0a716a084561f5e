import { expect } from "chai";
import { compileSchema } from "./fixtures/compile-schema.ts";
import type { Bare, Full } from "./event-examples.ts";
import { eventExamples } from "./event-examples.ts";
import { closeSchema, mutate, requireAll } from "./fixtures/schema-mutations.ts";
import { controlSchemas, type WireData, wireSchemas, type ReplicaMessage } from "./wire-schemas.ts";

const at = "2026-01-31T12:00:00.123Z";
const deploy = eventExamples["io.busker.function.deploy"];
const record = { replicas: 1, revision: "w1", createdAt: at, updatedAt: at };
const replica = { id: "fn-1", state: "ready", revision: "w1", since: at } as const;
const placed = { ...replica, node: "machine-2" };
const problem = { message: "exit code 1", at, failures: 2 };
const secret = { ...eventExamples["io.busker.secret.create"].full, namespace: "openfaas-fn", version: 2 };
const stored = { ...secret, createdAt: at, updatedAt: at };
const request = { method: "GET", path: "/a?b=c", headers: ["Accept", "text/html"] };
const response = { status: 200, headers: ["Content-Type", "text/html"] };
const bareRecord = {
  id: "c1",
  function: { namespace: "openfaas-fn", name: "resize" },
  state: "succeeded",
  priority: "high",
  queuedMs: 1,
  attempts: [],
} as const;
const callError = { code: "replica_lost", message: "it went away" } as const;
const links = { callbackUrl: "https://example.com/", parent: "c0", replayOf: "c2" };
const kept = { bytes: 3, place: "payload", name: "c1" } as const;
const target = { url: "https://example.com/", function: bareRecord.function, subject: "orders.done" };
const wholeRecord = {
  ...bareRecord,
  ...links,
  runAtMs: 2,
  nextMs: 3,
  endedMs: 4,
  expiresMs: 5,
  attempts: [{ number: 1, startedMs: 2, endedMs: 3, status: 200, error: callError, isFree: true }],
  error: callError,
  traceparent: "00-1-2-01",
  tracestate: "a=1",
  request: { head: { ...request, upgrade: "websocket" }, contentType: "text/plain", body: kept },
  response: { ...response, body: kept },
  isSynchronous: true,
  untold: {
    target: { kind: "url", ...target },
    call: { id: "c1", state: "succeeded", error: callError, parent: "c0" },
  },
} as const;
const scaled = { at, from: 1, replicas: 3, rule: "up", because: "the load asks for more", numbers: { rps: 130.5 } };
const load = { replica: "fn-1", inFlight: 1, slots: 4 };

const examples: {
  readonly [K in keyof WireData]: { readonly full: Full<WireData[K]>; readonly bare: Bare<WireData[K]> };
} = {
  RequestHead: { full: { ...request, upgrade: "websocket" }, bare: request },
  ResponseHead: { full: response, bare: response },
  ReplicaLoad: { full: load, bare: load },
  ScaleExplanation: {
    full: { latest: scaled, lastChange: scaled, error: { code: "function_not_found", message: "there is none" } },
    bare: {},
  },
  FunctionRecord: {
    full: { ...record, spec: deploy.full.spec, scaledBecause: scaled.because },
    bare: { ...record, spec: deploy.bare.spec },
  },
  FunctionStatusRecord: {
    full: {
      replicas: [placed],
      warnings: ["limits.cpu 1 is not enforced"],
      cores: 2,
      problem: { ...problem, nextTryAt: at },
    },
    bare: { replicas: [replica] },
  },
  SecretRecord: { full: stored, bare: stored },
  EnrolAnswer: {
    full: { launch: secret.sealed, waitMs: 200, error: { code: "conflict", message: "it has enrolled" } },
    bare: {},
  },
  BundleAnswer: {
    full: { part: "H4sI", size: 3, error: { code: "unauthorized", message: "the ticket is not of this function" } },
    bare: {},
  },
  CallRecord: { full: wholeRecord, bare: bareRecord },
  DurableFacts: { full: { queuedMs: 1, runAtMs: 2, ...links, payload: kept }, bare: { queuedMs: 1 } },
  OutcomeTarget: { full: { kind: "url", ...target }, bare: { kind: "url" } },
  SecretAnswer: { full: { names: ["api-key"], error: { code: "secret_exists", message: "it exists" } }, bare: {} },
};

const controls: { readonly [K in ReplicaMessage["kind"]]: Extract<ReplicaMessage, { kind: K }> } = {
  drain: { kind: "drain" },
  freeze: { kind: "freeze", number: 1 },
  resume: { kind: "resume" },
  renew: { kind: "renew", jwt: "a.b.c" },
  secret: { kind: "secret", name: "token", version: 7, box: "AAAA" },
  cancel: { kind: "cancel", callId: "c1" },
  ping: { kind: "ping" },
  reserve: { kind: "reserve", since: 1_769_860_800_123 },
  withdraw: { kind: "withdraw" },
};

describe("wireSchemas", () => {
  for (const name of Object.keys(examples) as readonly (keyof WireData)[])
    it(`describe ${name} as TypeScript does, and refuse every broken one`, () => {
      const { full, bare } = examples[name];
      const schema = wireSchemas[name];
      const check = compileSchema(schema);
      expect(check(full)).to.equal("");
      expect(check(bare)).to.equal("");
      expect(compileSchema(closeSchema(schema))(full), "a property that the schema lacks").to.equal("");
      expect(compileSchema(requireAll(schema))(full), "a property that the type lacks").to.equal("");
      for (const { what, value } of mutate(full, schema)) expect(check(value), what).to.not.equal("");
    });
});

describe("controlSchemas", () => {
  for (const kind of Object.keys(controls) as readonly ReplicaMessage["kind"][])
    it(`describe ${kind} as TypeScript does, and no other kind`, () => {
      const check = compileSchema(closeSchema(controlSchemas[kind]));
      for (const other of Object.values(controls))
        expect(check(other) === "", other.kind).to.equal(other.kind === kind);
      for (const { what, value } of mutate(controls[kind], controlSchemas[kind]))
        expect(check(value), what).to.not.equal("");
    });
});
