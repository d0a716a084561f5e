import { expect } from "chai";
import type { FunctionRecord } from "../../schemas/function.ts";
import { type PlannedReplica, planReplicas } from "./plan-replicas.ts";

const nowMs = 1_000_000;

const wish = (replicas: number, revision = "new"): FunctionRecord => ({
  spec: { name: "f", namespace: "openfaas-fn", image: "i" },
  replicas,
  revision,
  createdAt: "2026-01-01T00:00:00Z",
  updatedAt: "2026-01-01T00:00:00Z",
});

const replica = (
  id: string,
  state: PlannedReplica["state"] = "ready",
  more: Partial<PlannedReplica> = {},
): PlannedReplica => ({
  id,
  state,
  revision: "new",
  stopping: false,
  startedMs: nowMs - 1000,
  ...more,
});
const old = (id: string, more: Partial<PlannedReplica> = {}) => replica(id, "ready", { revision: "old", ...more });

const failed = (failures: number, nextTryAtMs: number, revision = "new") => ({ revision, failures, nextTryAtMs });

interface Case {
  readonly what: string;
  readonly record?: FunctionRecord;
  readonly replicas?: readonly PlannedReplica[];
  readonly backOff?: ReturnType<typeof failed>;
  readonly plan: { readonly start: number; readonly drain: readonly string[]; readonly againAtMs?: number };
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
];

describe("planReplicas()", () => {
  for (const { what, record, replicas = [], backOff, plan } of cases)
    it(`${what}: ${JSON.stringify(plan)}`, () => {
      expect(planReplicas({ record, replicas, backOff, nowMs })).to.deep.equal(plan);
    });
});
