import { expect } from "chai";
import type { Capacity } from "../../bus/invoker.ts";
import type { PullRequest } from "../../bus/pull.ts";
import type { Held } from "./held.ts";
import { Lane, type LaneQueue } from "./lane.ts";

const createWorld = () => {
  const pulls: PullRequest[] = [];
  const made: string[] = [];
  const world = {
    capacity: { free: 0, inFlight: 0, waiting: 0, readyReplicas: 0 } as Capacity,
    entered: 0,
    pulls,
    made,
  };
  const lane = new Lane(
    { namespace: "openfaas-fn", name: "f" },
    {
      leaseMs: 1000,
      capacity: () => world.capacity,
      ensureConsumer: async ({ name }) => {
        made.push(name);
      },
      removeForgetful: async () => false,
      pull: (request) => pulls.push(request),
      isConnected: () => true,
      enter: () => {
        world.entered += 1;
      },
    },
  );
  return { world, lane };
};

let seq = 0;
const hold = (queue: LaneQueue, bytes = 10): Held => {
  const held: Held = {
    queue,
    callId: `c${(seq += 1)}`,
    seq,
    bytes,
    deliveryCount: 1,
    reply: "",
    renewedMs: 0,
    isReleased: false,
    isSettled: false,
    bagIndex: -1,
  };
  queue.lane.add(held);
  return held;
};

const ready = (free: number, inFlight: number): Capacity => ({ free, inFlight, waiting: 0, readyReplicas: 1 });

describe("Lane", () => {
  const cases: readonly { name: string; capacity: Capacity; inHand: number; wanted: number }[] = [
    { name: "one, when nothing is known of the function", capacity: ready(0, 0), inHand: 0, wanted: 1 },
    { name: "none, when one waits for the first replica", capacity: ready(0, 0), inHand: 1, wanted: 0 },
    { name: "as many as there are free slots", capacity: ready(5, 0), inHand: 0, wanted: 5 },
    { name: "only those for which no call is in hand yet", capacity: ready(5, 0), inHand: 3, wanted: 2 },
    { name: "the free ones beside its own", capacity: ready(3, 2), inHand: 2, wanted: 3 },
    { name: "one to wait in line, when all slots are taken", capacity: ready(0, 4), inHand: 4, wanted: 1 },
    { name: "none, when one waits in line already", capacity: ready(0, 4), inHand: 5, wanted: 0 },
    { name: "none, when others took the slots for which it has calls", capacity: ready(0, 0), inHand: 4, wanted: 0 },
  ];
  for (const { name, capacity, inHand, wanted } of cases)
    it(`wants ${name}`, () => {
      const { world, lane } = createWorld();
      const queue = lane.queueOf("normal");
      for (let at = 0; at < inHand; at += 1) hold(queue);
      world.capacity = capacity;
      expect(lane.wanted(), "nothing is there").to.equal(0);
      lane.expect(queue);
      expect(lane.wanted()).to.equal(wanted);
    });

  it("counts a call that has left the function as no longer in its slot", () => {
    const { world, lane } = createWorld();
    const queue = lane.queueOf("normal");
    hold(queue);
    world.capacity = ready(1, 0);
    lane.expect(queue);
    expect(lane.wanted()).to.equal(0);
    lane.release();
    expect(lane.wanted()).to.equal(1);
  });

  it("asks the most urgent queue that may have something, one at a time, and the next when that has no more", async () => {
    const { world, lane } = createWorld();
    for (const priority of ["low", "high", "normal"] as const) lane.expect(lane.queueOf(priority));
    let ends = 0;
    const take = async (): Promise<PullRequest | undefined> => {
      lane.take(1, () => (ends += 1));
      await new Promise((resolve) => setImmediate(resolve));
      return world.pulls.at(-1);
    };
    for (const priority of ["high", "normal", "low"]) {
      const pull = await take();
      expect(pull?.consumer).to.equal(`openfaas-fn_f_${priority}`);
      expect(lane.wanted(), "one request is under way").to.equal(0);
      pull?.ended("empty", 0);
    }
    expect(ends).to.equal(3);
    expect(lane.isIdle).to.equal(true);
  });

  it("asks again where as many came as it asked for, and not where fewer did", async () => {
    const { world, lane } = createWorld();
    const queue = lane.queueOf("normal");
    lane.expect(queue);
    lane.take(1, () => {});
    await new Promise((resolve) => setImmediate(resolve));
    world.pulls[0]?.ended("full", 1);
    expect(queue.mayHave).to.equal(true);
    lane.take(1, () => {});
    world.pulls[1]?.ended("empty", 0);
    expect(queue.mayHave).to.equal(false);
  });

  it("asks again for what was told while it asked, because the answer may be older", async () => {
    const { world, lane } = createWorld();
    const queue = lane.queueOf("normal");
    lane.expect(queue);
    lane.take(1, () => {});
    await new Promise((resolve) => setImmediate(resolve));
    lane.expect(queue);
    world.pulls[0]?.ended("empty", 0);
    expect(lane.wanted()).to.equal(1);
  });

  it("makes a consumer once, and anew when it is gone", async () => {
    const { world, lane } = createWorld();
    const queue = lane.queueOf("high");
    for (const end of ["empty", "gone", "empty"] as const) {
      lane.expect(queue);
      lane.take(1, () => {});
      await new Promise((resolve) => setImmediate(resolve));
      world.pulls.at(-1)?.ended(end, 0);
    }
    expect(world.pulls).to.have.length(3);
    expect(world.made).to.deep.equal(["openfaas-fn_f_high", "openfaas-fn_f_high"]);
  });

  it("expects calls to weigh what the largest of the last ones did", () => {
    const { lane } = createWorld();
    const queue = lane.queueOf("normal");
    expect(lane.expectedBytes).to.be.above(1_000_000);
    hold(queue, 100_000);
    expect(lane.expectedBytes).to.equal(100_000);
    hold(queue, 10);
    expect(lane.expectedBytes).to.be.within(50_000, 99_999);
    for (let at = 0; at < 100; at += 1) hold(queue, 10);
    expect(lane.expectedBytes).to.equal(1024);
  });
});
