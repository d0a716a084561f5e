import { expect } from "chai";
import { eventExamples } from "../../../schemas/event-examples.ts";
import type { Sample } from "../../../schemas/read-sample.ts";
import { LiveSources } from "./live-sources.ts";

const { "io.busker.metric.caller": caller, "io.busker.metric.queue": queue } = eventExamples;
const key = "f.openfaas-fn";

describe("LiveSources", () => {
  const take = (live: LiveSources, sample: Sample, atMs: number): void =>
    live.take(key, {
      function: { namespace: "openfaas-fn", name: "f" },
      source: "queue-worker-1",
      sample,
      position: { created: "today", seq: atMs },
      atMs,
    });
  const calls: Sample = { kind: "caller", data: { ...caller.bare, inFlight: 3, waiting: 1 } };
  const queued: Sample = { kind: "queue", data: { ...queue.bare, depth: 7, oldestMs: 50 } };

  for (const order of [
    [calls, queued],
    [queued, calls],
  ])
    it(`knows what a queue-worker tells of its calls and of its queues (the ${order[1]?.kind} sample last)`, () => {
      const live = new LiveSources();
      for (const [at, sample] of order.entries()) take(live, sample, 1000 + at);
      const state = live.of(key, () => false);
      expect(state).to.include({ inFlight: 3, inFlightOfQueue: 3, waiting: 1 });
      expect(state.queue).to.include({ depth: 7, oldestMs: 50 });
    });

  it("forgets the calls of a caller that is gone, and not the queue that it told of", () => {
    const live = new LiveSources();
    take(live, calls, 1000);
    take(live, queued, 1000);
    take(live, { kind: "queue", data: { ...queue.bare, depth: 8 } }, 7000);
    const state = live.of(key, () => false);
    expect(state).to.include({ inFlight: 0, waiting: 0 });
    expect(state.queue).to.include({ depth: 8 });
  });
});
