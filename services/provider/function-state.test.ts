import { expect } from "chai";
import type { ReplicaView } from "./function-state.ts";
import { FunctionState } from "./function-state.ts";
import { newSleep } from "./sleep.ts";

const name = { namespace: "openfaas-fn", name: "f" };

const replicaOf = (id: string, revision: string): ReplicaView => ({
  ...name,
  id,
  revision,
  startedMs: 0,
  timeoutMs: 1000,
  state: "starting",
  sinceMs: 0,
  stopping: false,
  asleep: false,
  evicted: false,
  sleep: newSleep(false),
  readyMs: undefined,
  lastWords: undefined,
  killTimer: undefined,
});

const stateOf = (revision: string): FunctionState => {
  const state = new FunctionState(name);
  const at = new Date(0).toISOString();
  state.record = { spec: { ...name, image: "x" }, replicas: 1, revision, createdAt: at, updatedAt: at };
  return state;
};

const messageOf = (state: FunctionState): string | undefined => state.toStatus().problem?.message;

describe("FunctionState", () => {
  it("shows a start that takes long, in steps that double, because a status is read by many", () => {
    const state = stateOf("a");
    state.add(replicaOf("r", "a"));
    expect(state.noteSlowStart(1000)).to.equal(21_000);
    expect(state.noteSlowStart(20_999)).to.equal(21_000);
    expect(messageOf(state)).to.equal(undefined);
    expect(state.noteSlowStart(21_000)).to.equal(41_000);
    expect(messageOf(state)).to.equal("no replica is ready yet: starting for 20 s");
    const shown = state.toStatus();
    state.noteSlowStart(40_999);
    expect(state.toStatus()).to.deep.equal(shown);
    expect(state.noteSlowStart(41_000)).to.equal(81_000);
    expect(messageOf(state)).to.equal("no replica is ready yet: starting for 40 s");
  });

  it("forgets a slow start when the replica is ready, because it works now", () => {
    const state = stateOf("a");
    const replica = replicaOf("r", "a");
    state.add(replica);
    state.noteSlowStart(0);
    state.noteSlowStart(30_000);
    state.enter(replica, "ready", 31_000);
    expect(state.noteSlowStart(31_000)).to.equal(undefined);
    expect(state.toStatus().problem).to.equal(undefined);
  });

  it("shows a slow start of an update though the old replica answers, because the update does not", () => {
    const state = stateOf("b");
    const old = replicaOf("old", "a");
    state.add(old);
    state.enter(old, "ready", 0);
    expect(state.noteSlowStart(0)).to.equal(undefined);
    state.add(replicaOf("new", "b"));
    state.noteSlowStart(0);
    state.noteSlowStart(20_000);
    expect(messageOf(state)).to.equal("no replica of the newest update is ready yet: starting for 20 s");
  });

  it("shows a crash rather than a slow start, because that says why", () => {
    const state = stateOf("a");
    state.add(replicaOf("r", "a"));
    state.problem = { message: "crashed", atMs: 0 };
    state.noteSlowStart(0);
    state.noteSlowStart(20_000);
    expect(messageOf(state)).to.equal("crashed");
  });

  it("keeps failures in mind while a replica works and others fail beside it, or they would be started without end", () => {
    const state = stateOf("a");
    const replica = replicaOf("r", "a");
    state.add(replica);
    state.enter(replica, "ready", 0);
    state.problem = { message: "crashed", atMs: 60_000 };
    state.backOff = { revision: "a", failures: 3, nextTryAtMs: 61_000 };
    expect(state.forgetFailures(60_000)).to.equal(71_000);
    expect(state.backOff?.failures).to.equal(3);
    expect(state.forgetFailures(71_000)).to.equal(undefined);
    expect([state.backOff, state.problem]).to.deep.equal([undefined, undefined]);
  });
});
