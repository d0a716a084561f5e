import { expect } from "chai";
import { isFinal } from "../../schemas/call.ts";
import type { CallChange } from "../../schemas/events.ts";
import type { FunctionSpec } from "../../schemas/function.ts";
import type { FunctionName } from "../../schemas/names.ts";
import { callFilter, cancelSubject, partsSubject } from "../../schemas/subjects.ts";
import { within } from "../../test/support/collector.ts";
import {
  type Answer,
  type Answering,
  type Call,
  durableCall,
  ok,
  openTestWorker,
  recordingMode,
  type TestWorker,
} from "../../test/support/call-runs.ts";
import { startTestNats, type TestNats } from "../../test/support/nats.ts";
import { openTestReplica, type TestReplica } from "../../test/support/replicas.ts";
import { eventually } from "../../test/support/platform.ts";
import { queuedRecord } from "../bus/accept-calls.ts";
import { inOwnName } from "../bus/call-ids.ts";
import { withoutBodies } from "../bus/call-record-wire.ts";
import { type Bus, openBus } from "../bus/connection.ts";
import type { DurableCall } from "../bus/durable-call.ts";
import { publishEvent } from "../bus/events.ts";
import { openStore } from "../bus/objects.ts";
import { putPayload } from "../bus/payloads.ts";
import { ensureTopology } from "../bus/topology.ts";
import { stores } from "../../schemas/topology.ts";

const fast = { "com.openfaas.retry.min_wait": "10ms", "com.openfaas.retry.max_wait": "20ms" };
describe("createRunner()", function () {
  this.timeout(60_000);
  let nats: TestNats;
  let admin: Bus;
  let worker: TestWorker;
  let names = 0;
  const specs = new Map<string, Partial<FunctionSpec>>();
  const replicas: TestReplica[] = [];
  /** Ends what a function was left at, which else ends at its deadline, when the test is long over. */
  const ends: (() => void)[] = [];

  /** A function of its own with one replica, and what it was called with. */
  const deploy = async (answer: Answering, annotations: Readonly<Record<string, string>> = fast) => {
    const fn: FunctionName = { namespace: "openfaas-fn", name: `fn${(names += 1)}` };
    const calls: Call[] = [];
    const stopped: string[] = [];
    specs.set(fn.name, { annotations });
    const id = `r${names}`;
    const mode = recordingMode(calls, stopped, (call, finish) => {
      ends.push(() => finish(ok()));
      answer(call, finish);
    });
    replicas.push(await openTestReplica({ nats, function: fn, id, slots: 100, mode }));
    return { fn, calls, stopped };
  };
  /** Hands a call out again and again, as lanes do, until it is over. */
  const runToEnd = async (call: DurableCall): Promise<number> => {
    for (let deliveryCount = 1; ; deliveryCount += 1) {
      const settlement = await worker.run(call, { deliveryCount });
      if (settlement.kind === "done") return deliveryCount;
      await new Promise((resolve) => setTimeout(resolve, settlement.delayMs));
    }
  };
  /** Resolves when a call has come so far. */
  const untilState = ({ id, function: { namespace, name } }: DurableCall, state: string): Promise<void> =>
    within(
      new Promise((resolve) => {
        const subscription = admin.nc.subscribe(callFilter(namespace, name), {
          callback: (_error, message) => {
            if (message.subject.split(".")[2] !== state || message.json<CallChange>().id !== id) return;
            subscription.unsubscribe();
            resolve();
          },
        });
      }),
      `${id} is ${state}`,
    );
  const cancel = async (call: DurableCall, isTold: boolean): Promise<void> => {
    const found = await worker.records.read(call.id);
    if (!found) throw new Error("there is no record");
    const { namespace, name } = call.function;
    const endedMs = Date.now();
    await worker.records.write(withoutBodies({ ...found.record, state: "cancelled", endedMs }), found.seq);
    if (!isTold) return;
    publishEvent(admin, { subject: cancelSubject(namespace, name), type: "io.busker.cancel", data: { id: call.id } });
  };

  before(async () => {
    nats = await startTestNats();
    admin = await openBus({ url: nats.url, credentialsFile: nats.credsFile("admin"), user: "admin", name: "admin" });
    await ensureTopology(admin);
    worker = await openTestWorker(nats, specs);
  });
  after(async () => {
    for (const end of ends) end();
    for (const replica of replicas) await replica.close().catch(() => undefined);
    await worker.close();
    await admin.close();
    await nats.stop();
  });

  it("runs a call, and keeps request and response, byte for byte", async () => {
    const bytes = Buffer.from([0xff, 0x00, 0xfe, 0x80]);
    const { fn, calls } = await deploy((call, finish) => finish(ok(call.body, 201, ["X-Mine", "yes"])));
    const head = { method: "PUT", path: "/a?b=c", headers: ["X-Thing", "1"] };
    const call = durableCall(fn, { body: bytes, head, contentType: "text/odd", callbackUrl: "http://example.org/" });
    await worker.acceptor.accept(call);
    expect(await worker.run(call)).to.deep.equal({ kind: "done" });
    expect(calls).to.have.length(1);
    expect(calls[0]?.method).to.equal("PUT");
    expect(calls[0]?.path).to.equal("/a?b=c");
    expect(calls[0]?.headers).to.include.members(["X-Thing", "1", "X-Call-Id", call.id]);
    const found = await worker.records.read(call.id);
    expect(found?.record).to.deep.include({ state: "succeeded", callbackUrl: "http://example.org/" });
    expect(found?.record.attempts).to.have.length(1);
    expect(found?.record.attempts[0]).to.include({ number: 1, status: 201 });
    expect(Buffer.from(found?.request ?? []).equals(bytes)).to.equal(true);
    expect(Buffer.from(found?.response ?? []).equals(bytes)).to.equal(true);
    expect(found?.record.request).to.deep.equal({ head, contentType: "text/odd", body: { bytes: 4, place: "here" } });
    expect(found?.record.response).to.include({ status: 201 });
    expect(found?.record.response?.headers).to.include.members(["X-Mine", "yes"]);
    expect(found?.record.expiresMs).to.equal((found?.record.endedMs ?? 0) + 24 * 3600_000);
    expect((await worker.changes(call)).map(({ state }) => state)).to.deep.equal(["queued", "started", "succeeded"]);
    expect(worker.outcomes.filter(({ record }) => record.id === call.id)).to.have.length(1);
  });

  it("writes a short call down once, at its end", async () => {
    const { fn } = await deploy((_call, finish) => finish(ok()));
    let writes = 0;
    const counted = await openTestWorker(nats, specs, {
      records: { read: worker.records.read, write: (...args) => ((writes += 1), worker.records.write(...args)) },
    });
    const call = durableCall(fn);
    await counted.acceptor.accept(call);
    await counted.run(call);
    expect(writes).to.equal(1);
    await counted.close();
  });

  it("writes a long call down as running, with the time at which it began", async () => {
    let end = (): void => {};
    const { fn } = await deploy((_call, finish) => (end = () => finish(ok("late"))));
    const call = durableCall(fn);
    const run = worker.run(call);
    const running = await eventually("it is running", async () => {
      const record = await worker.record(call.id);
      return record?.state === "running" ? record : undefined;
    });
    expect(running.attempts).to.have.length(1);
    expect(running.attempts[0]?.endedMs).to.equal(undefined);
    end();
    expect(await run).to.deep.equal({ kind: "done" });
    expect((await worker.record(call.id))?.attempts).to.have.length(1);
  });

  it("tries again what may be, says so, and counts for the function", async () => {
    const { fn, calls } = await deploy((_call, finish) => finish(calls.length < 3 ? ok("no", 500) : ok("yes")));
    const call = durableCall(fn);
    const first = await worker.run(call);
    expect(first.kind).to.equal("retry");
    const waiting = await worker.record(call.id);
    expect(waiting).to.include({ state: "retrying" });
    expect(waiting?.attempts[0]).to.include({ number: 1, status: 500 });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(await runToEnd(call)).to.equal(2);
    const record = await worker.record(call.id);
    expect(record?.state).to.equal("succeeded");
    expect(record?.attempts.map(({ status }) => status)).to.deep.equal([500, 500, 200]);
    expect(record?.nextMs).to.equal(undefined);
    expect(calls[0]?.headers).not.to.include("X-Retry");
    expect(calls[2]?.headers).to.include.members(["X-Retry", "2", "X-Retry-Max", "9"]);
    const states = (await worker.changes(call)).map(({ state }) => state);
    expect(states).to.deep.equal(["started", "retrying", "started", "retrying", "started", "succeeded"]);
  });

  it("hands back what comes too early, for the rest of its time", async () => {
    const { fn, calls } = await deploy((_call, finish) => finish(ok()));
    const settlement = await worker.run(durableCall(fn, { runAtMs: Date.now() + 60_000 }));
    expect(settlement.kind).to.equal("retry");
    expect(settlement.kind === "retry" && settlement.delayMs).to.be.within(50_000, 60_000);
    expect(calls).to.have.length(0);
  });

  it("looks at one that waits for weeks once a day, and writes its record again, which would go after one", async () => {
    const { fn } = await deploy((_call, finish) => finish(ok()));
    const call = durableCall(fn, { runAtMs: Date.now() + 30 * 24 * 3600_000 });
    await worker.records.write(withoutBodies(queuedRecord(call)), 0);
    const before = await worker.records.read(call.id);
    expect(await worker.run(call)).to.deep.equal({ kind: "retry", delayMs: 24 * 3600_000 });
    const after = await worker.records.read(call.id);
    expect(after?.record).to.deep.equal(before?.record);
    expect(after?.seq).to.be.greaterThan(before?.seq ?? Number.NaN);
  });

  it("buries a call that used its attempts up, whole", async () => {
    const { fn, calls } = await deploy((_call, finish) => finish(ok("sorry", 503)), {
      ...fast,
      "com.openfaas.retry.attempts": "3",
    });
    const call = durableCall(fn, { body: Buffer.from("all of it") });
    expect(await runToEnd(call)).to.equal(3);
    expect(calls).to.have.length(3);
    const letter = await worker.deadLetter(call);
    expect(letter?.record.state).to.equal("dead");
    expect(letter?.record.error).to.deep.equal({
      code: "function_failed",
      message: "the function answered 503 in the last of 3 attempts",
    });
    expect(letter?.record.attempts.map(({ number }) => number)).to.deep.equal([1, 2, 3]);
    expect(Buffer.from(letter?.request ?? []).toString()).to.equal("all of it");
    expect(Buffer.from(letter?.response ?? []).toString()).to.equal("sorry");
  });

  it("buries a function's 4xx at once, its response with it", async () => {
    const { fn, calls } = await deploy((_call, finish) => finish(ok("no such thing", 404)));
    const call = durableCall(fn);
    expect(await worker.run(call)).to.deep.equal({ kind: "done" });
    expect(calls).to.have.length(1);
    expect(await worker.record(call.id)).to.deep.include({
      state: "dead",
      error: { code: "function_failed", message: "the function answered 404" },
    });
    expect(Buffer.from((await worker.deadLetter(call))?.response ?? []).toString()).to.equal("no such thing");
  });

  it("repeats what follows the end of a call that is over, and does not run it", async () => {
    const { fn, calls } = await deploy((_call, finish) => finish(ok("", 404)));
    const call = durableCall(fn);
    let isBroken = true;
    const broken = await openTestWorker(nats, specs, {
      publishOutcomes: () => (isBroken ? Promise.reject(new Error("killed")) : Promise.resolve()),
    });
    await broken.run(call).then(
      () => expect.fail("it must not be over"),
      (error: Error) => expect(error.message).to.equal("killed"),
    );
    isBroken = false;
    expect(await broken.run(call, { deliveryCount: 2 })).to.deep.equal({ kind: "done" });
    expect(calls).to.have.length(1);
    expect((await broken.changes(call)).filter(({ state }) => state === "dead")).to.have.length(1);
    await broken.close();
  });

  it("ends a call that runs when it is cancelled", async () => {
    const { fn, stopped } = await deploy(() => {});
    const call = durableCall(fn);
    const run = worker.run(call);
    await eventually("it is running", async () => (await worker.record(call.id))?.state === "running" || undefined);
    await cancel(call, true);
    expect(await run).to.deep.equal({ kind: "done" });
    await eventually("the function is stopped", () => stopped.includes(call.id) || undefined);
    expect((await worker.record(call.id))?.state).to.equal("cancelled");
    expect((await worker.changes(call)).map(({ state }) => state)).to.deep.equal(["started", "cancelled"]);
    expect(worker.outcomes.some(({ record }) => record.id === call.id)).to.equal(false);
  });

  it("leaves a call cancelled whose function is done at the same time", async () => {
    let end = (): void => {};
    const { fn } = await deploy((_call, finish) => (end = () => finish(ok("done"))));
    const call = durableCall(fn);
    const run = worker.run(call);
    await eventually("it is running", async () => (await worker.record(call.id))?.state === "running" || undefined);
    await cancel(call, false);
    end();
    expect(await run).to.deep.equal({ kind: "done" });
    expect((await worker.record(call.id))?.state).to.equal("cancelled");
  });

  it("does not run a call that was cancelled while it was queued", async () => {
    const { fn, calls } = await deploy((_call, finish) => finish(ok()));
    const call = durableCall(fn);
    await worker.acceptor.accept(call);
    await cancel(call, true);
    const leftMs = Date.now();
    expect(await worker.run(call)).to.deep.equal({ kind: "done" });
    expect(calls).to.have.length(0);
    expect((await worker.record(call.id))?.expiresMs).to.be.at.least(leftMs + 1000);
  });

  it("gives a call that two workers have one end", async () => {
    const ends: (() => void)[] = [];
    const { fn, calls } = await deploy((_call, finish) =>
      ends.push(() => finish(ok(`answer ${calls.length}`, calls.length === 1 ? 200 : 404))),
    );
    const other = await openTestWorker(nats, specs);
    const call = durableCall(fn);
    const first = worker.run(call);
    await eventually("one has it", () => ends.length === 1 || undefined);
    const second = other.run(call, { deliveryCount: 2 });
    await eventually("both have it", () => ends.length === 2 || undefined);
    ends[1]?.();
    expect(await second).to.deep.equal({ kind: "done" });
    const record = await worker.record(call.id);
    ends[0]?.();
    expect((await first).kind).to.equal("retry");
    expect(await worker.record(call.id)).to.deep.equal(record);
    const finals = (await worker.changes(call)).filter(({ state }) => isFinal(state as "dead"));
    expect(finals).to.have.length(1);
    await other.close();
  });

  it("counts an attempt whose worker was lost, and ends where there may be no other", async () => {
    const { fn, calls } = await deploy((_call, finish) => finish(ok("fine")), {
      ...fast,
      "com.openfaas.retry.attempts": "2",
    });
    const call = durableCall(fn);
    const lost = { number: 1, startedMs: Date.now() };
    await worker.acceptor.accept(call);
    const { record, seq } = (await worker.records.read(call.id)) ?? expect.fail("no record");
    await worker.records.write(withoutBodies({ ...record, state: "running", attempts: [lost] }), seq);
    expect(await worker.run(call, { deliveryCount: 2 })).to.deep.equal({ kind: "done" });
    const after = await worker.record(call.id);
    expect(after?.attempts).to.have.length(2);
    expect(after?.attempts[0]).to.deep.equal(lost);

    const poison = durableCall(fn);
    await worker.acceptor.accept(poison);
    const found = (await worker.records.read(poison.id)) ?? expect.fail("no record");
    const attempts = [lost, { number: 2, startedMs: Date.now() }];
    await worker.records.write(withoutBodies({ ...found.record, state: "running", attempts }), found.seq);
    expect(await worker.run(poison, { deliveryCount: 3 })).to.deep.equal({ kind: "done" });
    expect(calls).to.have.length(1);
    expect((await worker.record(poison.id))?.error?.message).to.equal(
      "the queue-worker that ran the call was lost in the last of 2 attempts",
    );
  });

  it("runs a call under an id of its own where another function has taken its id", async () => {
    const { fn, calls } = await deploy((_call, finish) => finish(ok()));
    const other = await deploy((_call, finish) => finish(ok()));
    const call = durableCall(fn);
    await worker.run(durableCall(other.fn, { id: call.id }));
    expect(await worker.run(call)).to.deep.equal({ kind: "done" });
    expect(calls).to.have.length(0);
    const own = inOwnName(call);
    expect(await worker.record(own.id)).to.include({ state: "queued", parent: call.id });
    expect((await worker.record(call.id))?.function).to.deep.equal(other.fn);
  });

  it("writes an attempt down before it begins, where the call was handed out before", async () => {
    const states: (string | undefined)[] = [];
    const { fn } = await deploy((call, finish) => {
      void worker.record(call.id).then((record) => {
        states.push(record?.state);
        finish(ok());
      });
    });
    await worker.run(durableCall(fn), { deliveryCount: 2 });
    expect(states).to.deep.equal(["running"]);
  });

  it("hands a call back when its worker stops, and does not count it", async () => {
    const { fn, stopped } = await deploy(() => {});
    const call = durableCall(fn);
    const stopping = new AbortController();
    const run = worker.run(call, {}, stopping.signal);
    await untilState(call, "started");
    stopping.abort();
    expect(await run).to.deep.equal({ kind: "retry", delayMs: 0 });
    await eventually("the function is stopped", () => stopped.includes(call.id) || undefined);
    const record = await worker.record(call.id);
    expect(record).to.include({ state: "retrying" });
    expect(record?.attempts).to.have.length(1);
    expect(record?.attempts[0]).to.include({ number: 1, isFree: true });
  });

  it("buries a call whose function loses its replica each time, and counts its attempts", async () => {
    const { fn } = await deploy((_call, finish) => finish({ ...ok("it broke", 502), error: "replica_lost" }), {
      ...fast,
      "com.openfaas.retry.attempts": "3",
      "com.openfaas.retry.codes": "500",
    });
    const call = durableCall(fn);
    expect(await runToEnd(call)).to.equal(3);
    const letter = await worker.deadLetter(call);
    expect(letter?.record.error).to.deep.equal({
      code: "replica_lost",
      message: "it broke, in the last of 3 attempts",
    });
    expect(letter?.record.response).to.equal(undefined);
  });

  it("streams a body that is kept elsewhere to the function, each time anew", async () => {
    const sizes: number[] = [];
    const { fn } = await deploy(() => {});
    const store = await openStore(admin, stores.payloads);
    const bytes = Buffer.alloc(3 * 1024 * 1024, 7);
    replicas.push(
      await openTestReplica({
        nats,
        function: fn,
        id: "uploads",
        slots: 1,
        mode: {
          takesStreams: true,
          start: async () => {},
          begin: (call, finish) => {
            let size = call.body.length;
            call.rest?.listen({
              onData: (chunk) => {
                size += chunk.length;
                call.rest?.consumed(chunk.length);
              },
              onEnd: () => {
                sizes.push(size);
                finish(sizes.length === 1 ? ok("", 500) : ok(String(size)));
              },
              onError: () => finish(ok("", 400)),
            });
            return () => {};
          },
          stop: async () => {},
        },
      }),
    );
    await replicas.at(-2)?.close();
    replicas.splice(-2, 1);
    const call = durableCall(fn, { body: new Uint8Array() });
    const payload = await putPayload(
      store,
      call.id,
      (async function* () {
        yield bytes;
      })(),
      bytes.length,
    );
    expect(await runToEnd({ ...call, payload })).to.equal(2);
    expect(sizes).to.deep.equal([bytes.length, bytes.length]);
    const found = await worker.records.read(call.id);
    expect(Buffer.from(found?.response ?? []).toString()).to.equal(String(bytes.length));
    expect(found?.record.request?.body).to.deep.equal(payload);
    expect(found?.request).to.have.length(0);
  });

  it("buries a call whose body is not there", async () => {
    const { fn } = await deploy(() => {});
    const payload = { place: "payload", name: "gone", bytes: 5 } as const;
    const call = durableCall(fn, { body: new Uint8Array(), payload });
    expect(await worker.run(call)).to.deep.equal({ kind: "done" });
    expect((await worker.record(call.id))?.error).to.deep.equal({
      code: "not_found",
      message: "there is no object gone",
    });
  });

  it("keeps a large response in parts", async () => {
    const part = Buffer.alloc(256 * 1024, 1);
    const { fn } = await deploy((_call, finish) =>
      finish({
        ...ok(""),
        stream: (sink) => {
          for (let count = 0; count < 12; count += 1) sink.write(Buffer.from(part));
          sink.end();
        },
      }),
    );
    const call = durableCall(fn);
    expect(await worker.run(call)).to.deep.equal({ kind: "done" });
    const found = await worker.records.read(call.id);
    expect(found?.record.response?.body).to.deep.equal({ bytes: 12 * part.length, place: "parts", name: "1" });
    expect(found?.response).to.have.length(0);
    expect(partsSubject(call.id, 1)).to.match(/^busker\.part\./);
  });

  it("announces a response that is still being written", async () => {
    let sink: Parameters<NonNullable<Answer["stream"]>>[0] | undefined;
    const { fn } = await deploy((_call, finish) =>
      finish({ ...ok("first", 206), stream: (writing) => (sink = writing) }),
    );
    const call = durableCall(fn);
    const run = worker.run(call);
    const record = await eventually("it is announced", async () => {
      const found = await worker.record(call.id);
      return found?.response ? found : undefined;
    });
    expect(record).to.include({ state: "running" });
    expect(record.response?.body).to.deep.equal({ bytes: 0, place: "parts", name: "1" });
    sink?.end();
    expect(await run).to.deep.equal({ kind: "done" });
    expect((await worker.record(call.id))?.response?.body).to.deep.equal({ bytes: 5, place: "parts", name: "1" });
  });

  it("buries a call whose response has more headers than are kept", async () => {
    const giant = Array.from({ length: 300 }, (_, at) => [`X-${at}`, "x".repeat(1000)]).flat();
    const { fn } = await deploy((_call, finish) => finish(ok("", 200, giant)));
    const call = durableCall(fn);
    expect(await worker.run(call)).to.deep.equal({ kind: "done" });
    expect((await worker.record(call.id))?.error?.code).to.equal("response_too_large");
  });

  it("ends a call over a restart of the server", async () => {
    let end = (): void => {};
    const { fn } = await deploy((_call, finish) => (end = () => finish(ok("done"))));
    const call = durableCall(fn);
    await worker.acceptor.accept(call);
    const run = worker.run(call);
    await eventually("it is running", async () => (await worker.record(call.id))?.state === "running" || undefined);
    await nats.kill();
    await nats.restart();
    // What was in the replica is not known any more: it is tried again, and that does not count.
    const settlement = await within(run, "the attempt is over", 15_000);
    expect(settlement.kind).to.equal("retry");
    const record = await worker.record(call.id);
    expect(record).to.include({ state: "retrying" });
    expect(record?.attempts[0]).to.include({ number: 1, isFree: true });
    end();
  });
});
