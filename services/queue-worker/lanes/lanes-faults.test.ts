import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect } from "chai";
import type { FunctionName } from "../../../schemas/names.ts";
import { collect } from "../../../test/support/collector.ts";
import { startTestNats, type TestNats } from "../../../test/support/nats.ts";
import {
  callOf,
  callOnce,
  openBusOf,
  openTestQueue,
  openTestWorker,
  roomy,
  type TestQueue,
} from "../../../test/support/lanes.ts";
import { openTestReplica } from "../../../test/support/replicas.ts";
import { ensureTopology } from "../../bus/topology.ts";
import type { Settlement } from "../delivery.ts";

const done: Settlement = { kind: "done" };
const workerProgram = fileURLToPath(new URL("fixtures/worker.ts", import.meta.url));

describe("lanes under faults", () => {
  let nats: TestNats;
  let queue: TestQueue;
  const name: FunctionName = { namespace: "openfaas-fn", name: "f" };

  beforeEach(async () => {
    nats = await startTestNats();
    const admin = await openBusOf(nats, "admin");
    await ensureTopology(admin);
    await admin.close();
    queue = await openTestQueue(nats);
  });
  afterEach(async () => {
    await queue.close();
    await nats.stop();
  });

  it("hand over what a worker had in hand that was killed with -9, within ten seconds", async () => {
    const child = spawn(
      process.execPath,
      ["--import", "tsx", workerProgram, nats.url, nats.credsFile("queue-worker")],
      {
        stdio: ["ignore", "pipe", "inherit"],
      },
    );
    const held = collect<string>();
    createInterface({ input: child.stdout }).on("line", held.push);
    const ids = Array.from({ length: 20 }, (_, at) => `call-${at}`);
    for (const id of ids) await queue.accept(callOf(name, "x", { id }));
    await held.reach(20);
    const taken = collect<string>();
    const worker = await openTestWorker(
      nats,
      () =>
        async ({ call, deliveryCount }) => {
          taken.push(`${call.id} ${deliveryCount}`);
          return done;
        },
      { leaseMs: 5000 },
    );
    child.kill("SIGKILL");
    await once(child, "exit");
    await taken.reach(20, 10_000);
    expect(new Set(taken.all)).to.deep.equal(new Set(ids.map((id) => `${id} 2`)));
    await queue.untilEmpty();
    await worker.stop();
  });

  it("lose none of 5,000 calls when nats-server is killed with -9 in mid-flow, and starts again", async function () {
    this.timeout(60_000);
    const replica = await openTestReplica({
      nats,
      function: name,
      id: "f-1",
      slots: 20,
      mode: {
        start: async () => {},
        begin: (_call, finish) => {
          const timer = setTimeout(() => finish({ status: 200, headers: [], body: "" }), 2);
          return () => clearTimeout(timer);
        },
        stop: async () => {},
      },
    });
    const ended = collect<string>();
    const worker = await openTestWorker(nats, (on) => callOnce(on, ({ call }) => ended.push(call.id)));
    const ids = Array.from({ length: 5000 }, (_, at) => `call-${at}`);
    const accepted = Promise.all(ids.map((id) => queue.keep(callOf(name, "x", { id }))));
    await accepted;
    await ended.reach(1000);
    await nats.kill();
    await nats.restart();
    await queue.untilEmpty(40_000);
    expect(new Set(ended.all)).to.deep.equal(new Set(ids));
    await worker.stop();
    await replica.close();
  });

  it("say late that a call is over when the server was away, and it does not come again", async () => {
    const taken = collect<string>();
    const worker = await openTestWorker(
      nats,
      () =>
        async ({ call, deliveryCount }) => {
          taken.push(`${call.id} ${deliveryCount}`);
          // Ends while the server is away; whoever sent it is told before.
          await accepted;
          await nats.kill();
          return done;
        },
      { leaseMs: 10_000 },
    );
    const accepted = queue.accept(callOf(name, "x", { id: "a" }));
    await accepted;
    await taken.reach(1);
    await nats.restart();
    await queue.untilEmpty();
    expect(taken.all).to.deep.equal(["a 1"]);
    await worker.stop();
  });

  it("run a call once that comes again while it is still in hand", async () => {
    const taken = collect<string>();
    const ends: (() => void)[] = [];
    const worker = await openTestWorker(
      nats,
      () =>
        ({ call }) => {
          taken.push(call.id);
          return new Promise<Settlement>((resolve) => ends.push(() => resolve(done)));
        },
      { invoker: roomy },
    );
    await queue.accept(callOf(name, "x", { id: "a" }));
    await taken.reach(1);
    // A consumer that is made again knows nothing of what it has handed out.
    await queue.deleteConsumer("openfaas-fn_f_normal");
    await queue.accept(callOf(name, "x", { id: "b" }));
    await taken.until((all) => all.includes("b"), "the next call");
    expect(taken.all).to.deep.equal(["a", "b"]);
    for (const end of ends) end();
    await queue.untilEmpty();
    await worker.stop();
  });

  it("drain 20,000 calls without holding them", async function () {
    this.timeout(60_000);
    const body = Buffer.alloc(4096, "x");
    for (let at = 0; at < 20_000; at += 2000)
      await Promise.all(Array.from({ length: 2000 }, () => queue.keep(callOf(name, body))));
    globalThis.gc?.();
    const beforeBytes = process.memoryUsage().rss;
    let most = 0;
    let mostInHand = 0;
    const ended = collect<number>();
    const worker = await openTestWorker(
      nats,
      () =>
        async ({ release }) => {
          release();
          await new Promise((resolve) => setImmediate(resolve));
          ended.push(1);
          return done;
        },
      { invoker: roomy },
    );
    const watch = setInterval(() => {
      mostInHand = Math.max(mostInHand, worker.lanes.inHand());
      most = Math.max(most, process.memoryUsage().rss);
    }, 5);
    await queue.untilEmpty(50_000);
    clearInterval(watch);
    expect(ended.all.length).to.equal(20_000);
    expect(mostInHand).to.be.at.most(1000);
    // The backlog is 80 MB.
    expect(most - beforeBytes).to.be.below(60e6);
    await worker.stop();
  });
});
