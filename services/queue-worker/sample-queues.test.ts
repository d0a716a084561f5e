import { expect } from "chai";
import { readSample } from "../../schemas/read-sample.ts";
import { createRecordingBus } from "../bus/fixtures/recording-bus.ts";
import { countAttempt } from "./count-attempt.ts";
import type { QueueDepth } from "./queue-metrics.ts";
import type { AttemptResult } from "./run-attempt.ts";
import { sampleQueues } from "./sample-queues.ts";

const name = { namespace: "openfaas-fn", name: "f" };
const functions = {
  find: (of: { readonly name: string }) => (of.name === "f" ? ({} as never) : undefined),
  onRemoved: () => () => {},
};

describe("sampleQueues()", function () {
  this.timeout(60_000);

  it("tells of the queues that hold something, and once that one does no more", async () => {
    const { bus, published } = createRecordingBus();
    let depths: ReadonlyMap<string, QueueDepth> = new Map([
      ["f.openfaas-fn", { messages: 3, due: 2, oldestMs: Date.now() - 500 }],
      ["gone.openfaas-fn", { messages: 3, due: 3 }],
    ]);
    const stop = sampleQueues(bus, { source: "queue-worker-1", depths: () => depths, functions });
    await published.reach(1);
    depths = new Map();
    const [first, second] = await published.reach(2);
    expect(first?.subject).to.equal("busker.metric.openfaas-fn.f.queue-worker-1");
    expect(first?.data).to.include({ n: 1, depth: 3, due: 2 });
    expect(first?.data["oldestMs"]).to.be.within(500, 5000);
    expect(second?.data).to.include({ n: 2, depth: 0, due: 0, oldestMs: 0 });
    expect(readSample("io.busker.metric.queue", JSON.stringify(first?.data))).to.have.property("kind", "queue");
    stop();
  });
});

describe("countAttempt()", () => {
  const counting = (known: boolean) => {
    const seen: (number | "started")[] = [];
    const counts = {
      started: () => seen.push("started"),
      answered: (status: number) => seen.push(status),
      accepted: () => {},
    };
    const parts = { functions: { find: () => (known ? ({} as never) : undefined) }, samples: { of: () => counts } };
    const run = (result: AttemptResult) => countAttempt(parts, name, () => Promise.resolve(result));
    return { seen, run };
  };
  const body = new Uint8Array();
  const results: readonly (readonly [string, AttemptResult, number])[] = [
    [
      "an answer by its status",
      { kind: "answered", head: { status: 201, headers: [] }, kept: { bytes: 0, place: "here" }, body },
      201,
    ],
    ["a failure by its code's status", { kind: "failed", error: { code: "replica_lost", message: "" } }, 502],
    ["what was stopped as a client that went away", { kind: "stopped" }, 499],
  ];
  for (const [what, result, status] of results)
    it(`counts ${what}`, async () => {
      const { seen, run } = counting(true);
      expect(await run(result)).to.equal(result);
      expect(seen).to.deep.equal(["started", status]);
    });

  it("counts nothing of a function that is gone, because nobody would ever ask", async () => {
    const { seen, run } = counting(false);
    await run({ kind: "stopped" });
    expect(seen).to.deep.equal([]);
  });
});
