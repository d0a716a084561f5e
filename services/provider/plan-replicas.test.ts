import { expect } from "chai";
import type { FunctionRecord } from "../../schemas/function.ts";
import { type PlannedReplica, planReplicas, type ReplicaPlan } from "./plan-replicas.ts";

const nowMs = 1_000_000_000;
const day = 24 * 3600_000;

const wish = (replicas: number, revision = "new"): FunctionRecord => ({
  spec: { name: "f", namespace: "openfaas-fn", image: "i" },
  replicas,
  revision,
  createdAt: "2026-01-01T00:00:00Z",
  updatedAt: "2026-01-01T00:00:00Z",
});

/** A wish that wants its last replicas frozen. */
const sleepy = (replicas: number, least = "1", more: Readonly<Record<string, string>> = {}): FunctionRecord => {
  const { spec, ...record } = wish(replicas);
  const labels = { "com.openfaas.scale.min": least };
  return { ...record, spec: { ...spec, annotations: { "com.busker.zero": "freeze", ...more }, labels } };
};

const replica = (
  id: string,
  state: PlannedReplica["state"] = "ready",
  more: Partial<PlannedReplica> = {},
): PlannedReplica => ({
  id,
  state,
  revision: "new",
  stopping: false,
  asleep: false,
  startedMs: nowMs - 1000,
  sinceMs: nowMs - 1000,
  evicted: false,
  ...more,
});
const frozen = (id: string, more: Partial<PlannedReplica> = {}) => replica(id, "frozen", { asleep: true, ...more });
const old = (id: string, more: Partial<PlannedReplica> = {}) => replica(id, "ready", { revision: "old", ...more });

const failed = (failures: number, nextTryAtMs: number, revision = "new") => ({ revision, failures, nextTryAtMs });

interface Case {
  readonly what: string;
  readonly record?: FunctionRecord;
  readonly replicas?: readonly PlannedReplica[];
  readonly backOff?: ReturnType<typeof failed>;
  readonly canFreeze?: boolean;
  /** What it is beyond "freeze nothing, wake nothing". */
  readonly plan: Partial<ReplicaPlan> & Pick<ReplicaPlan, "start" | "drain">;
}

const cases: readonly Case[] = [
  { what: "starts what is missing", record: wish(2), plan: { start: 2, drain: [] } },
  { what: "leaves what is as wished", record: wish(1), replicas: [replica("a")], plan: { start: 0, drain: [] } },
  {
    what: "counts those that start",
    record: wish(2),
    replicas: [replica("a", "starting")],
    plan: { start: 1, drain: [] },
  },
  {
    what: "replaces one that has ended",
    record: wish(1),
    replicas: [replica("a", "exited")],
    plan: { start: 1, drain: [] },
  },
  {
    what: "replaces one that was told to stop",
    record: wish(1),
    replicas: [replica("a", "draining", { stopping: true })],
    plan: { start: 1, drain: [] },
  },
  {
    what: "counts one that drains by itself, to come back with new credentials",
    record: wish(1),
    replicas: [replica("a", "draining")],
    plan: { start: 0, drain: [] },
  },
  {
    what: "starts a few at a time",
    record: wish(100),
    replicas: [replica("a", "starting")],
    plan: { start: 7, drain: [] },
  },
  {
    what: "drains everything of a removed function",
    replicas: [replica("a"), old("b")],
    plan: { start: 0, drain: ["a", "b"] },
  },
  {
    what: "drains everything at zero",
    record: wish(0),
    replicas: [replica("a"), replica("b", "starting")],
    plan: { start: 0, drain: ["a", "b"] },
  },
  {
    what: "drains nothing twice",
    replicas: [replica("a", "draining", { stopping: true })],
    plan: { start: 0, drain: [] },
  },
  {
    what: "drains the newest of a surplus",
    record: wish(1),
    replicas: [replica("older", "ready", { startedMs: 1 }), replica("newer", "ready", { startedMs: 2 })],
    plan: { start: 0, drain: ["newer"] },
  },
  {
    what: "drains those that start before those that serve",
    record: wish(1),
    replicas: [replica("serves", "ready", { startedMs: 2 }), replica("starts", "starting", { startedMs: 1 })],
    plan: { start: 0, drain: ["starts"] },
  },
  {
    what: "starts the new beside the old",
    record: wish(2),
    replicas: [old("a"), old("b")],
    plan: { start: 2, drain: [] },
  },
  {
    what: "keeps the old while the new only start",
    record: wish(2),
    replicas: [old("a"), old("b"), replica("c", "starting"), replica("d", "starting")],
    plan: { start: 0, drain: [] },
  },
  {
    what: "drains one old for each new that is ready",
    record: wish(2),
    replicas: [old("a", { startedMs: 1 }), old("b", { startedMs: 2 }), replica("c"), replica("d", "starting")],
    plan: { start: 0, drain: ["b"] },
  },
  {
    what: "drains all old when all new are ready",
    record: wish(1),
    replicas: [old("a"), replica("b")],
    plan: { start: 0, drain: ["a"] },
  },
  {
    what: "waits after a failure",
    record: wish(1),
    backOff: failed(1, nowMs + 200),
    plan: { start: 0, drain: [], againAtMs: nowMs + 200 },
  },
  {
    what: "starts as many as ever where one has failed beside ten that work",
    record: wish(15),
    replicas: Array.from({ length: 10 }, (_, at) => replica(`r${at}`)),
    backOff: failed(1, nowMs),
    plan: { start: 5, drain: [] },
  },
  {
    what: "tries one at a time where two have failed beside ten that work",
    record: wish(15),
    replicas: Array.from({ length: 10 }, (_, at) => replica(`r${at}`)),
    backOff: failed(2, nowMs),
    plan: { start: 1, drain: [] },
  },
  {
    what: "tries one when the wait is over",
    record: wish(3),
    backOff: failed(2, nowMs),
    plan: { start: 1, drain: [] },
  },
  {
    what: "tries no second beside the one it tries",
    record: wish(3),
    replicas: [replica("a", "starting")],
    backOff: failed(2, nowMs),
    plan: { start: 0, drain: [] },
  },
  {
    what: "does not hold the failures of one revision against the next",
    record: wish(2),
    backOff: failed(5, nowMs + 9000, "old"),
    plan: { start: 2, drain: [] },
  },
  {
    what: "has nothing to wait for when nothing is missing",
    record: wish(1),
    replicas: [replica("a")],
    backOff: failed(1, nowMs + 200),
    plan: { start: 0, drain: [] },
  },
  {
    what: "freezes the oldest at zero and drains the rest, where the function wants that",
    record: sleepy(0),
    replicas: [replica("new", "ready", { startedMs: nowMs - 10 }), replica("a")],
    plan: { start: 0, drain: ["new"], freeze: ["a"] },
  },
  {
    what: "freezes as many as the next call wakes",
    record: sleepy(0, "2"),
    replicas: [replica("a"), replica("b"), replica("c", "ready", { startedMs: nowMs })],
    plan: { start: 0, drain: ["c"], freeze: ["a", "b"] },
  },
  {
    what: "freezes one where the least count is zero",
    record: sleepy(0, "0"),
    replicas: [replica("a")],
    plan: { start: 0, drain: [], freeze: ["a"] },
  },
  {
    what: "leaves those that sleep and wakes none at zero",
    record: sleepy(0),
    replicas: [frozen("a"), replica("b")],
    plan: { start: 0, drain: ["b"] },
  },
  {
    what: "ends one that has slept for a day",
    record: sleepy(0),
    replicas: [frozen("a", { sinceMs: nowMs - day })],
    plan: { start: 0, drain: ["a"] },
  },
  {
    what: "ends one that has slept for as long as the function says",
    record: sleepy(0, "2", { "com.busker.zero.stop-after": "10s" }),
    replicas: [frozen("a", { sinceMs: nowMs - 10_000 }), frozen("b")],
    plan: { start: 0, drain: ["a"] },
  },
  {
    what: "ends one that is evicted from its sleep",
    record: sleepy(0),
    replicas: [frozen("a", { evicted: true })],
    plan: { start: 0, drain: ["a"] },
  },
  {
    what: "wakes one that has slept for long, when it is wanted",
    record: sleepy(1),
    replicas: [frozen("a", { sinceMs: nowMs - 2 * day })],
    plan: { start: 0, drain: [], wake: ["a"] },
  },
  {
    what: "leaves one that is falling asleep",
    record: sleepy(0),
    replicas: [replica("a", "draining", { asleep: true })],
    plan: { start: 0, drain: [] },
  },
  {
    what: "lets one that starts become ready, to freeze it then",
    record: sleepy(0),
    replicas: [replica("a", "starting")],
    plan: { start: 0, drain: [] },
  },
  {
    what: "does not freeze one that is waking before it is ready",
    record: sleepy(0),
    replicas: [replica("a", "frozen")],
    plan: { start: 0, drain: [] },
  },
  {
    what: "ends what sleeps of an older revision at zero, and what is awake",
    record: sleepy(0),
    replicas: [frozen("a", { revision: "old" }), old("b")],
    plan: { start: 0, drain: ["a", "b"] },
  },
  { what: "ends what sleeps of a removed function", replicas: [frozen("a")], plan: { start: 0, drain: ["a"] } },
  {
    what: "drains everything at zero where nothing can be frozen",
    record: sleepy(0),
    replicas: [replica("a")],
    canFreeze: false,
    plan: { start: 0, drain: ["a"] },
  },
  {
    what: "ends what sleeps when the function does not want that any more",
    record: wish(0),
    replicas: [frozen("a")],
    plan: { start: 0, drain: ["a"] },
  },
  {
    what: "wakes what sleeps before it starts more",
    record: sleepy(2),
    replicas: [frozen("a")],
    plan: { start: 1, drain: [], wake: ["a"] },
  },
  {
    what: "waits for one that is waking",
    record: sleepy(1),
    replicas: [replica("a", "frozen")],
    plan: { start: 0, drain: [] },
  },
  {
    what: "wakes as many as are wished and ends the others",
    record: sleepy(1, "2"),
    replicas: [frozen("a"), frozen("b", { startedMs: nowMs })],
    plan: { start: 0, drain: ["b"], wake: ["a"] },
  },
  {
    what: "prefers one that sleeps to one that starts",
    record: sleepy(1),
    replicas: [replica("a", "starting"), frozen("b", { startedMs: nowMs })],
    plan: { start: 0, drain: ["a"], wake: ["b"] },
  },
  {
    what: "ends what sleeps of an older revision at once, and what serves when a new one is ready",
    record: sleepy(1),
    replicas: [frozen("a", { revision: "old" }), old("b")],
    plan: { start: 1, drain: ["a"] },
  },
];

describe("planReplicas()", () => {
  for (const { what, record, replicas = [], backOff, canFreeze = true, plan } of cases)
    it(`${what}: ${JSON.stringify(plan)}`, () => {
      const all = { freeze: [], wake: [], ...plan };
      expect(planReplicas({ record, replicas, backOff, canFreeze, nowMs })).to.deep.equal(all);
    });
});
