import { expect } from "chai";
import type { FunctionName } from "../../../schemas/names.ts";
import type { Priority } from "../../../schemas/subjects.ts";
import { collect, openGate, within } from "../../../test/support/collector.ts";
import { startTestNats, type TestNats } from "../../../test/support/nats.ts";
import {
  callOf,
  callOnce,
  openBusOf,
  openTestQueue,
  openTestWorker,
  roomy,
  type TestQueue,
  type TestWorker,
} from "../../../test/support/lanes.ts";
import { invocationOf, openTestReplica, timerMode } from "../../../test/support/replicas.ts";
import type { Bus } from "../../bus/connection.ts";
import { openInvoker } from "../../bus/invoker.ts";
import { ensureTopology } from "../../bus/topology.ts";
import type { Delivery, RunDelivery, Settlement } from "../delivery.ts";

const done: Settlement = { kind: "done" };

describe("openLanes()", () => {
  let nats: TestNats;
  let admin: Bus;
  let queue: TestQueue;
  let names = 0;
  const workers: TestWorker[] = [];
  /** A function of its own for each test. */
  const ownFunction = (): FunctionName => ({ namespace: "openfaas-fn", name: `fn${(names += 1)}` });
  const work = async (...given: Parameters<typeof openTestWorker> extends [unknown, ...infer R] ? R : never) => {
    const worker = await openTestWorker(nats, ...given);
    workers.push(worker);
    return worker;
  };
  const subjectOf = ({ namespace, name }: FunctionName): string => `busker.queue.${namespace}.${name}.normal`;
  const bodyOf = ({ call }: Delivery): string => Buffer.from(call.body).toString();

  before(async () => {
    nats = await startTestNats();
    admin = await openBusOf(nats, "admin");
    await ensureTopology(admin);
    queue = await openTestQueue(nats);
  });
  afterEach(async () => {
    await Promise.all(workers.splice(0).map((worker) => worker.stop()));
    await queue.purge();
  });
  after(async () => {
    await queue.close();
    await admin.close();
    await nats.stop();
  });

  it("hands over a call as it was accepted, and it leaves the queue when it is done", async () => {
    const name = ownFunction();
    const taken = collect<Delivery>();
    await work(() => async (delivery) => {
      taken.push(delivery);
      return done;
    });
    const call = callOf(name, "hello");
    await queue.accept(call);
    const [delivery] = await taken.reach(1);
    expect(delivery?.call).to.deep.include({
      id: call.id,
      function: name,
      priority: "normal",
      queuedMs: call.queuedMs,
    });
    expect(delivery?.call.head).to.deep.equal(call.head);
    expect(delivery && bodyOf(delivery)).to.equal("hello");
    expect(delivery?.deliveryCount).to.equal(1);
    await queue.untilEmpty();
  });

  it("finds calls that nobody told it of", async () => {
    const taken = collect<string>();
    await work(() => async (delivery) => {
      taken.push(bodyOf(delivery));
      return done;
    });
    await queue.keep(callOf(ownFunction(), "untold"));
    expect(await taken.reach(1)).to.deep.equal(["untold"]);
  });

  it("takes what is urgent before what is not, and each kind in the order in which it came", async () => {
    const name = ownFunction();
    const order: string[] = [];
    const wanted: string[] = [];
    const priorities: readonly Priority[] = ["low", "normal", "high"];
    for (const priority of priorities)
      for (let at = 0; at < 20; at += 1) await queue.keep(callOf(name, `${priority} ${at}`, { priority }));
    for (const priority of priorities.toReversed()) for (let at = 0; at < 20; at += 1) wanted.push(`${priority} ${at}`);
    const taken = collect<string>();
    await work(() => async (delivery) => {
      order.push(bodyOf(delivery));
      taken.push(bodyOf(delivery));
      return done;
    });
    await taken.reach(60);
    expect(order).to.deep.equal(wanted);
  });

  it("takes an urgent call next, however many others wait and run", async () => {
    const name = ownFunction();
    const taken = collect<string>();
    const gates = [openGate(), openGate(), openGate()];
    for (let at = 0; at < 100; at += 1) await queue.keep(callOf(name, `${at}`, { priority: "low" }));
    const worker = await work(() => async (delivery) => {
      taken.push(bodyOf(delivery));
      await gates[taken.all.length - 1]?.opened;
      return done;
    });
    await taken.reach(1);
    await queue.accept(callOf(name, "urgent", { priority: "high" }));
    // The worker has heard of it.
    await worker.bus.nc.flush();
    gates[0]?.open();
    expect((await taken.reach(2)).slice(0, 2)).to.deep.equal(["0", "urgent"]);
    for (const gate of gates) gate.open();
  });

  it("brings a call again when it says so, not before and not much later", async () => {
    const times: number[] = [];
    const taken = collect<number>();
    await work(() => async ({ deliveryCount }) => {
      times.push(Date.now());
      taken.push(deliveryCount);
      return deliveryCount < 8 ? { kind: "retry", delayMs: 200 } : done;
    });
    await queue.accept(callOf(ownFunction()));
    // Long before discovery would have found it so often.
    expect(await taken.reach(8, 10_000)).to.deep.equal([1, 2, 3, 4, 5, 6, 7, 8]);
    const waits = times.slice(1).map((time, at) => time - (times[at] ?? 0));
    expect(Math.min(...waits)).to.be.at.least(190);
    await queue.untilEmpty();
  });

  it("brings a call again whose run rejected, and goes on with others", async () => {
    const name = ownFunction();
    const taken = collect<string>();
    const warned = collect<string>();
    const onWarning = (warning: Error): void => warned.push(warning.message);
    process.on("warning", onWarning);
    await work(() => async (delivery) => {
      taken.push(`${bodyOf(delivery)} ${delivery.deliveryCount}`);
      if (bodyOf(delivery) === "poison" && delivery.deliveryCount === 1) throw new Error("no such luck");
      return done;
    });
    await queue.accept(callOf(name, "poison"));
    await queue.accept(callOf(name, "other"));
    expect(await taken.reach(3)).to.deep.equal(["poison 1", "other 1", "poison 2"]);
    process.off("warning", onWarning);
    expect(warned.all.join()).to.include("no such luck");
    await queue.untilEmpty();
  });

  it("drops a message that is no call, says so, and goes on", async () => {
    const name = ownFunction();
    const warned = collect<string>();
    const onWarning = (warning: Error): void => warned.push(warning.message);
    process.on("warning", onWarning);
    const taken = collect<string>();
    await work(() => async (delivery) => {
      taken.push(bodyOf(delivery));
      return done;
    });
    admin.nc.publish(subjectOf(name), "what is this");
    await queue.accept(callOf(name, "call"));
    expect(await taken.reach(1)).to.deep.equal(["call"]);
    await queue.untilEmpty();
    process.off("warning", onWarning);
    expect(warned.all.join()).to.include(subjectOf(name));
  });

  it("keeps a call that takes longer than its lease", async () => {
    const taken = collect<number>();
    const gate = openGate();
    const run: RunDelivery = async ({ deliveryCount }) => {
      taken.push(deliveryCount);
      if (taken.all.length === 1) await gate.opened;
      return done;
    };
    await work(() => run, { leaseMs: 600 });
    await work(() => run, { leaseMs: 600 });
    const name = ownFunction();
    await queue.accept(callOf(name));
    await taken.reach(1);
    // Leases go by in which the other worker asks for calls.
    const rounds = collect<number>();
    const timer = setInterval(() => rounds.push(Date.now()), 600);
    await rounds.reach(5);
    clearInterval(timer);
    gate.open();
    await queue.untilEmpty();
    expect(taken.all).to.deep.equal([1]);
  });

  it("never has more in the function than it has slots, whoever calls it, and no more in hand than that and one in line", async () => {
    const name = ownFunction();
    let inside = 0;
    let most = 0;
    const mode = timerMode(() => 5 + Math.random() * 10);
    const replica = await openTestReplica({
      nats,
      function: name,
      id: `${name.name}-1`,
      slots: 4,
      mode: {
        ...mode,
        begin: (call, finish) => {
          most = Math.max(most, (inside += 1));
          return mode.begin(call, (answer) => {
            inside -= 1;
            finish(answer);
          });
        },
      },
    });
    const gateway = await openBusOf(nats, "gateway");
    const invoker = openInvoker(gateway);
    const seen = collect<string>();
    const inHand: number[] = [];
    const first = await work((on) => callOnce(on, ({ call }) => seen.push(call.id)));
    const second = await work((on) => callOnce(on, ({ call }) => seen.push(call.id)));
    const calls = Array.from({ length: 200 }, () => callOf(name));
    const answered = Array.from(
      { length: 100 },
      () => new Promise((resolve) => invoker.invoke(invocationOf(name), resolve)),
    );
    const watch = setInterval(() => inHand.push(first.lanes.inHand(), second.lanes.inHand()), 1);
    await Promise.all(calls.map((call) => queue.accept(call)));
    await seen.reach(200);
    await Promise.all(answered);
    clearInterval(watch);
    expect(new Set(seen.all)).to.deep.equal(new Set(calls.map(({ id }) => id)));
    expect(most).to.be.at.most(4);
    expect(Math.max(...inHand)).to.be.at.most(5);
    await queue.untilEmpty();
    invoker.close();
    await gateway.close();
    await replica.close();
  });

  it("takes the next call when the function is left, while the last is still being written down", async () => {
    const name = ownFunction();
    const gate = openGate();
    const taken = collect<string>();
    await work(() => async (delivery) => {
      taken.push(bodyOf(delivery));
      delivery.release();
      await gate.opened;
      return done;
    });
    for (const body of ["a", "b", "c"]) await queue.accept(callOf(name, body));
    expect(await taken.reach(3)).to.deep.equal(["a", "b", "c"]);
    gate.open();
    await queue.untilEmpty();
  });

  it("begins calls of 500 functions while one with 2,000 does not end", async () => {
    const slow = ownFunction();
    const gate = openGate();
    const replica = await openTestReplica({
      nats,
      function: slow,
      id: `${slow.name}-1`,
      slots: 0,
      mode: { ...timerMode(() => 0), begin: () => () => {} },
    });
    const begun = collect<string>();
    const worker = await work(
      (on) => (delivery, signal) => {
        if (delivery.call.function.name === slow.name) return callOnce(on)(delivery, signal);
        begun.push(delivery.call.function.name);
        return gate.opened.then(() => done);
      },
      { maxCalls: 40 },
    );
    await Promise.all(Array.from({ length: 2000 }, () => queue.keep(callOf(slow))));
    const others = Array.from({ length: 500 }, ownFunction);
    for (const other of others) await queue.accept(callOf(other));
    await begun.reach(500);
    expect(new Set(begun.all).size).to.equal(500);
    expect(worker.lanes.inHand()).to.be.at.most(40 + 500 + 1);
    gate.open();
    await replica.close();
  });

  it("holds no more bytes than it may, however many calls wait", async () => {
    const names_ = Array.from({ length: 4 }, ownFunction);
    const body = Buffer.alloc(100_000);
    for (const name of names_) await Promise.all(Array.from({ length: 200 }, () => queue.keep(callOf(name, body))));
    let bytes = 0;
    let most = 0;
    const ended = collect<number>();
    await work(
      () =>
        async ({ call, release }) => {
          most = Math.max(most, (bytes += call.body.length));
          release();
          await new Promise((resolve) => setTimeout(resolve, 5));
          bytes -= call.body.length;
          ended.push(1);
          return done;
        },
      { maxBytes: 2_000_000, invoker: roomy },
    );
    await ended.reach(800);
    // One more for each function may come while the last pull is on its way.
    expect(most).to.be.within(1_000_000, 2_500_000);
    await queue.untilEmpty();
  });

  it("goes on when its consumers are taken away", async () => {
    const name = ownFunction();
    const taken = collect<string>();
    await work(() => async (delivery) => {
      taken.push(bodyOf(delivery));
      return done;
    });
    await queue.accept(callOf(name, "before"));
    await taken.reach(1);
    await queue.untilEmpty();
    await queue.deleteConsumer(`openfaas-fn_${name.name}_normal`);
    await queue.accept(callOf(name, "after"));
    expect(await taken.reach(2)).to.deep.equal(["before", "after"]);
    await queue.untilEmpty();
  });

  it("makes a consumer on the first call of a function and a priority, and no other", async () => {
    const name = ownFunction();
    const taken = collect<string>();
    await work(() => async (delivery) => {
      taken.push(bodyOf(delivery));
      return done;
    });
    await queue.accept(callOf(name, "x", { priority: "low" }));
    await taken.reach(1);
    const made = (await queue.consumers()).filter((consumer) => consumer.includes(`_${name.name}_`));
    expect(made).to.deep.equal([`openfaas-fn_${name.name}_low`]);
  });

  it("shares the calls of one function with other workers, each call taken once", async () => {
    const name = ownFunction();
    const by: string[] = [];
    const taken = collect<string>();
    const run =
      (who: string): RunDelivery =>
      async (delivery) => {
        by.push(who);
        taken.push(bodyOf(delivery));
        await new Promise((resolve) => setImmediate(resolve));
        return done;
      };
    await work(() => run("a"));
    await work(() => run("b"));
    await work(() => run("c"));
    await Promise.all(Array.from({ length: 300 }, (_, at) => queue.accept(callOf(name, `${at}`))));
    await taken.reach(300);
    await queue.untilEmpty();
    expect(new Set(taken.all).size).to.equal(300);
    expect(taken.all.length).to.equal(300);
    expect(new Set(by)).to.deep.equal(new Set(["a", "b", "c"]));
  });

  it("gives back what has not ended when it stops, to be taken by another", async () => {
    const taken = collect<string>();
    const aborted = collect<string>();
    const worker = await work(
      () => (delivery, signal) => {
        taken.push("first");
        return new Promise<Settlement>((resolve) => {
          signal.addEventListener("abort", () => {
            aborted.push(bodyOf(delivery));
            resolve({ kind: "retry", delayMs: 0 });
          });
        });
      },
      { graceMs: 50 },
    );
    await queue.accept(callOf(ownFunction(), "long"));
    await taken.reach(1);
    await work(() => async () => {
      taken.push("second");
      return done;
    });
    await worker.lanes.stop();
    expect(aborted.all).to.deep.equal(["long"]);
    expect(worker.lanes.inHand()).to.equal(0);
    expect(await taken.reach(2)).to.deep.equal(["first", "second"]);
    await queue.untilEmpty();
  });

  it("waits for what ends within the grace when it stops, and takes nothing more", async () => {
    const name = ownFunction();
    const gate = openGate();
    const taken = collect<string>();
    const worker = await work(
      () => async (delivery) => {
        taken.push(bodyOf(delivery));
        await gate.opened;
        return done;
      },
      { graceMs: 10_000 },
    );
    await queue.accept(callOf(name, "a"));
    await queue.accept(callOf(name, "b"));
    await taken.reach(1);
    const stopped = worker.lanes.stop();
    gate.open();
    await stopped;
    expect(taken.all).to.deep.equal(["a"]);
    const counts = collect<number | undefined>();
    const look = async (): Promise<void> => {
      while (counts.all.at(-1) !== 1) counts.push((await queue.queue.countBySubject()).get(subjectOf(name)));
    };
    await within(look(), "the call that was not taken, alone");
  });

  it("tells how many calls of a function are not over, and when the oldest was due", async () => {
    const name = ownFunction();
    const gate = openGate();
    const worker = await work(() => async () => {
      await gate.opened;
      return done;
    });
    const first = callOf(name, "a");
    await queue.accept(first);
    for (let at = 0; at < 9; at += 1) await queue.accept(callOf(name, `${at}`, { priority: "low" }));
    const seen = collect<unknown>();
    const timer = setInterval(() => seen.push(worker.lanes.depths().get(`${name.name}.${name.namespace}`)), 50);
    await seen.until(
      (all) => JSON.stringify(all.at(-1)) === JSON.stringify({ messages: 10, due: 10, oldestMs: first.queuedMs }),
      "its depth and age",
      15_000,
    );
    gate.open();
    await seen.until((all) => all.at(-1) === undefined, "nothing left");
    clearInterval(timer);
  });

  it("tells how many of them are due, those left out that were put off, and all again when their time has come", async function () {
    this.timeout(60_000);
    const name = ownFunction();
    const gate = openGate();
    const worker = await work(
      () =>
        async ({ call, deliveryCount }) => {
          if (call.head.path === "/later" && deliveryCount === 1) return { kind: "retry", delayMs: 8000 };
          await gate.opened;
          return done;
        },
      { invoker: roomy },
    );
    const later = { ...callOf(name), head: { method: "POST", path: "/later", headers: [] } };
    for (let at = 0; at < 3; at += 1) await queue.accept({ ...later, id: `later-${at}` });
    await queue.accept(callOf(name));
    const seen = collect<unknown>();
    const timer = setInterval(() => {
      const depth = worker.lanes.depths().get(`${name.name}.${name.namespace}`);
      seen.push(depth && [depth.messages, depth.due].join(" of which due "));
    }, 50);
    await seen.until((all) => all.at(-1) === "4 of which due 1", "what is put off", 20_000);
    await seen.until((all) => all.at(-1) === "4 of which due 4", "what is due", 20_000);
    gate.open();
    await seen.until((all) => all.at(-1) === undefined, "nothing left");
    clearInterval(timer);
  });
});
