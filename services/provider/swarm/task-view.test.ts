import { expect } from "chai";
import { readTask, type SwarmNodeFacts, type SwarmTask } from "./task-view.ts";

const nodes = new Map<string, SwarmNodeFacts>(
  [
    { ID: "n1", Description: { Hostname: "machine-1" }, Status: { State: "ready" } },
    { ID: "n2", Description: { Hostname: "machine-2" }, Status: { State: "down", Message: "heartbeat failure" } },
  ].map((node) => [node.ID, node]),
);
const labels = {
  "com.busker.function": "fn.ns",
  "com.busker.revision": "w1",
  "com.busker.timeout-ms": "5000",
  "com.busker.secrets": "a,b",
};

const taskOf = (
  Status: SwarmTask["Status"],
  more: Partial<SwarmTask> = {},
  own: Readonly<Record<string, string>> = {},
): SwarmTask => ({
  ID: "t1",
  NodeID: "n1",
  DesiredState: "running",
  CreatedAt: "2026-01-31T12:00:00Z",
  Spec: { ContainerSpec: { Labels: { ...labels, ...own } } },
  ...more,
  Status,
});
const ended = (code: number) => ({ ContainerStatus: { ContainerID: "c1", ExitCode: code } });

describe("readTask()", () => {
  it("reads whose it is and where", () => {
    expect(readTask(taskOf({ State: "running" }), nodes)).to.deep.equal({
      id: "fn-t1",
      task: "t1",
      namespace: "ns",
      name: "fn",
      revision: "w1",
      timeoutMs: 5000,
      startedMs: Date.parse("2026-01-31T12:00:00Z"),
      secrets: ["a", "b"],
      node: "machine-1",
      stopping: false,
      isStarting: false,
      unplaced: undefined,
      exit: undefined,
    });
  });

  it("gives nothing for a task of somebody else", () => {
    const foreign = { ...taskOf({ State: "running" }), Spec: { ContainerSpec: { Labels: { function: "true" } } } };
    expect(readTask(foreign, nodes)).to.equal(undefined);
    expect(readTask({ ...foreign, Spec: {} }, nodes)).to.equal(undefined);
  });

  it("says why no machine takes it", () => {
    const { NodeID: _, ...task } = taskOf({ State: "pending", Err: "no suitable node (insufficient resources)" });
    expect(readTask(task, nodes)).to.include({
      unplaced: "no suitable node (insufficient resources)",
      node: undefined,
      isStarting: true,
    });
  });

  const ends: readonly (readonly [string, SwarmTask, object, boolean])[] = [
    [
      "a code",
      taskOf({ State: "failed", Err: "task: non-zero exit (3)", ...ended(3) }, { DesiredState: "shutdown" }),
      { code: 3, signal: null },
      false,
    ],
    [
      "a clean end by itself",
      taskOf({ State: "complete", ...ended(0) }, { DesiredState: "shutdown" }),
      { code: 0, signal: null },
      false,
    ],
    [
      "an end that was asked for",
      taskOf({ State: "shutdown", ...ended(0) }, { DesiredState: "shutdown" }),
      { code: 0, signal: null },
      true,
    ],
    [
      "a signal",
      taskOf({ State: "failed", Err: "task: non-zero exit (152)", ...ended(152) }),
      { code: null, signal: "SIGXCPU" },
      false,
    ],
    [
      "a kill under a memory limit",
      taskOf({ State: "failed", Err: "task: non-zero exit (137)", ...ended(137) }, {}, { "com.busker.memory": "64Mi" }),
      { code: null, signal: "SIGKILL", reason: "killed by SIGKILL, most likely out of memory: the limit is 64Mi" },
      false,
    ],
    [
      "a container that could not be made",
      taskOf({ State: "rejected", Err: "No such image: app:1" }),
      { code: null, signal: null, reason: "No such image: app:1" },
      false,
    ],
    [
      "a container that its limits do not allow",
      taskOf({ State: "rejected", Err: "Minimum memory limit allowed is 6MB" }),
      { code: null, signal: null, reason: "Minimum memory limit allowed is 6MB", isRefused: true },
      false,
    ],
    [
      "a machine that is down",
      taskOf({ State: "running" }, { NodeID: "n2" }),
      { code: null, signal: null, reason: "its node machine-2 is down: heartbeat failure" },
      true,
    ],
    [
      "a machine that has left",
      taskOf({ State: "running" }, { NodeID: "n9" }),
      { code: null, signal: null, reason: "its node n9 has left the swarm" },
      true,
    ],
  ];
  for (const [what, task, exit, stopping] of ends)
    it(`reads ${what}`, () => {
      const view = readTask(task, nodes);
      expect(view?.exit).to.deep.equal({ id: "fn-t1", output: "", ...exit });
      expect(view?.stopping).to.equal(stopping);
    });
});
