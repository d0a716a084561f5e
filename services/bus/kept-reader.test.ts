import { expect } from "chai";
import { jetstreamManager } from "@nats-io/jetstream";
import { BuskerError, type ErrorCode } from "../../schemas/errors.ts";
import type { FrameKind } from "../../schemas/invocation.ts";
import { keptHeadSubject, keptPartsSubject, replicaControlSubject } from "../../schemas/subjects.ts";
import { collect, type Collector } from "../../test/support/collector.ts";
import { startTestNats, type TestNats } from "../../test/support/nats.ts";
import { type Bus, openBus } from "./connection.ts";
import { encodeFrame } from "./frames.ts";
import { encodeKeptHead } from "./kept-answer.ts";
import { type KeptPlace, type KeptReader, openKeptReader } from "./kept-reader.ts";
import { ensureTopology } from "./topology.ts";

const fn = { namespace: "openfaas-fn", name: "fn" };

describe("openKeptReader()", function () {
  this.timeout(60_000);
  let nats: TestNats;
  let admin: Bus;
  let bus: Bus;
  let reader: KeptReader;
  let count = 0;

  before(async () => {
    nats = await startTestNats();
    admin = await openBus({ url: nats.url, credentialsFile: nats.credsFile("admin"), user: "admin", name: "test" });
    await ensureTopology(admin);
    bus = await openBus({
      url: nats.url,
      credentialsFile: nats.credsFile("gateway"),
      user: "gateway",
      name: "gateway",
    });
    reader = openKeptReader(bus);
    // A replica that lives: it need not say anything, somebody must be there.
    admin.nc.subscribe(replicaControlSubject("alive"), { callback: () => {} });
  });

  after(async () => {
    reader?.close();
    await Promise.all([bus?.close(), admin?.close()]);
    await nats?.stop();
  });

  /** What a replica does. */
  const begin = (more: { readonly deadlineMs?: number; readonly replica?: string } = {}) => {
    count += 1;
    const stream = count.toString(16).padStart(32, "0");
    const head = { callId: `c${count}`, head: { status: 200, headers: [] }, deadlineMs: Date.now() + 60_000 };
    const headers = encodeKeptHead({ ...head, replica: "alive", ...more });
    admin.nc.publish(keptHeadSubject(fn.namespace, fn.name, stream), "", { headers });
    const say = (kind: FrameKind, number: number, text = "", error?: ErrorCode): void =>
      admin.nc.publish(keptPartsSubject(fn.namespace, fn.name, stream), text, {
        headers: encodeFrame(kind, number, error),
      });
    const tellHead = (): void => admin.nc.publish(keptHeadSubject(fn.namespace, fn.name, stream), "", { headers });
    return { stream, say, tellHead };
  };

  const findOpen = async (stream: string, number = 0): Promise<KeptPlace> => {
    await admin.nc.flush();
    const found = await reader.find(fn, { stream, number });
    if (found.kind !== "open") throw new Error("it is complete");
    return found.place;
  };

  const failureOf = async (stream: string, number: number): Promise<BuskerError> => {
    await admin.nc.flush();
    try {
      const { kind } = await reader.find(fn, { stream, number });
      throw new Error(`it is ${kind}`);
    } catch (error) {
      if (error instanceof BuskerError) return error;
      throw error;
    }
  };

  /** Reads on, and puts what comes into one list: texts, "END", codes of errors. */
  const read = (place: KeptPlace, accept: () => boolean = () => true) => {
    const seen: Collector<string> = collect<string>();
    const view = reader.read(place, {
      onEvent: (data) => {
        seen.push(Buffer.from(data).toString());
        return accept();
      },
      onEnd: () => seen.push("END"),
      onError: ({ code }) => seen.push(code),
    });
    return { seen, view };
  };

  const consumers = async (): Promise<number> =>
    (await (await jetstreamManager(admin.nc)).streams.info("STREAMS")).state.consumer_count;

  it("gives what is there and what comes, each once, and the end", async () => {
    const { stream, say } = begin();
    say("data", 1, "a");
    const { seen } = read(await findOpen(stream));
    await seen.reach(1);
    say("data", 2, "b");
    say("end", 3);
    expect(await seen.reach(3)).to.deep.equal(["a", "b", "END"]);
    expect(reader.count(fn)).to.equal(0);
  });

  it("gives a new answer's events that come only later", async () => {
    const { stream, say } = begin();
    const place = await reader.findNew(fn, stream);
    const { seen } = read(place);
    say("data", 1, "a");
    say("abort", 2, "why", "function_failed");
    expect(await seen.reach(2)).to.deep.equal(["a", "function_failed"]);
  });

  it("goes on over a restart of the server, without a gap or a repeat", async () => {
    const { stream, say } = begin();
    say("data", 1, "a");
    const { seen } = read(await findOpen(stream));
    await seen.reach(1);
    const changes = collect<boolean>();
    const unlisten = admin.onChange(changes.push);
    await nats.restart();
    await changes.reach(2);
    unlisten();
    say("data", 2, "b");
    say("end", 3);
    expect(await seen.reach(3)).to.deep.equal(["a", "b", "END"]);
  });

  it("finds everything of an answer whose head was written anew, as that of a long one is", async () => {
    const { stream, say, tellHead } = begin();
    say("data", 1, "a");
    tellHead();
    say("data", 2, "b");
    say("end", 3);
    expect(await read(await findOpen(stream)).seen.reach(3)).to.deep.equal(["a", "b", "END"]);
    expect(await read(await findOpen(stream, 1)).seen.reach(2)).to.deep.equal(["b", "END"]);
  });

  it("never passes over a part that is missing", async () => {
    const { stream, say } = begin();
    say("data", 1, "a");
    say("data", 3, "c");
    say("end", 4);
    const { seen } = read(await findOpen(stream));
    expect(await seen.reach(2)).to.deep.equal(["a", "stream_gone"]);
  });

  it("asks for no more while its client does not take what came", async () => {
    const { stream, say } = begin();
    const place = await findOpen(stream);
    for (let at = 1; at <= 1000; at += 1) say("data", at, String(at));
    say("end", 1001);
    await admin.nc.flush();
    let isTaking = false;
    const { seen, view } = read(place, () => isTaking);
    await seen.reach(256);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(seen.all).to.have.length(256);
    isTaking = true;
    view.resume();
    expect((await seen.reach(1001)).slice(-2)).to.deep.equal(["1000", "END"]);
  });

  it("goes on when the server has removed its consumer while its client took nothing", async () => {
    const { stream, say } = begin();
    for (let at = 1; at <= 300; at += 1) say("data", at, String(at));
    let isTaking = false;
    const { seen, view } = read(await findOpen(stream), () => isTaking);
    await seen.reach(256);
    const manager = await jetstreamManager(admin.nc);
    for await (const { name } of manager.consumers.list("STREAMS")) await manager.consumers.delete("STREAMS", name);
    isTaking = true;
    view.resume();
    say("end", 301);
    expect((await seen.reach(301)).slice(-2)).to.deep.equal(["300", "END"]);
  });

  it("reads an answer whose deadline is out of all bounds", async () => {
    const { stream, say } = begin({ deadlineMs: Number.MAX_SAFE_INTEGER });
    const { seen } = read(await findOpen(stream));
    await new Promise((resolve) => setTimeout(resolve, 500));
    say("end", 1);
    expect(await seen.reach(1)).to.deep.equal(["END"]);
  });

  it("holds few bytes of large parts", async () => {
    const { stream, say } = begin();
    for (let at = 1; at <= 20; at += 1) say("data", at, "x".repeat(250_000));
    say("end", 21);
    let isTaking = false;
    const { seen, view } = read(await findOpen(stream), () => isTaking);
    await seen.reach(2);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(seen.all).to.have.length(2);
    isTaking = true;
    view.resume();
    expect((await seen.reach(21)).at(-1)).to.equal("END");
  });

  it("ends when its replica is gone, with all that it has said before", async () => {
    const { stream, say } = begin({ replica: "dead" });
    say("data", 1, "a");
    const { seen } = read(await findOpen(stream));
    expect(await seen.reach(2)).to.deep.equal(["a", "replica_lost"]);
  });

  it("ends when the deadline is over and no end has come", async () => {
    const { stream, say } = begin({ deadlineMs: Date.now() - 4500 });
    say("data", 1, "a");
    const { seen } = read(await findOpen(stream));
    expect(await seen.reach(2)).to.deep.equal(["a", "deadline_exceeded"]);
  });

  it("reads a complete answer to its end, long after deadline and replica", async () => {
    const { stream, say } = begin({ deadlineMs: Date.now() - 100_000, replica: "dead" });
    for (let at = 1; at <= 600; at += 1) say("data", at, String(at));
    say("end", 601);
    const { seen } = read(await findOpen(stream));
    expect((await seen.reach(601)).at(-1)).to.equal("END");
  });

  it("tells who has everything that it is complete, or what it broke off with", async () => {
    const one = begin();
    one.say("data", 1, "a");
    one.say("end", 2);
    await admin.nc.flush();
    expect(await reader.find(fn, { stream: one.stream, number: 1 })).to.have.property("kind", "complete");
    const two = begin();
    two.say("data", 1, "a");
    two.say("abort", 2, "why", "function_failed");
    expect(await failureOf(two.stream, 1)).to.include({ code: "function_failed", message: "why" });
  });

  it("tells who has everything of an answer without an end that its replica is gone", async () => {
    const { stream, say } = begin({ replica: "dead" });
    expect((await failureOf(stream, 0)).code).to.equal("replica_lost");
    say("data", 1, "a");
    expect((await failureOf(stream, 1)).code).to.equal("replica_lost");
    expect((await findOpen(stream)).next).to.equal(1);
  });

  it("takes a replica for there that says nothing", async () => {
    const { stream, say } = begin();
    say("data", 1, "a");
    expect((await findOpen(stream, 1)).next).to.equal(2);
  });

  it("refuses what is not kept as stream_gone", async () => {
    const { stream, say } = begin();
    expect((await failureOf("f".repeat(32), 0)).code).to.equal("stream_gone");
    expect((await failureOf(stream, 1)).code).to.equal("stream_gone");
    say("data", 4, "d");
    expect((await failureOf(stream, 2)).message).to.contain("no longer has event 3: its oldest is 4");
    expect((await failureOf(stream, 5)).message).to.contain("has no event 5");
  });

  it("takes nothing on trust that a replica writes", async () => {
    const { stream } = begin();
    admin.nc.publish(keptPartsSubject(fn.namespace, fn.name, stream), "no frame at all");
    expect((await failureOf(stream, 0)).code).to.equal("internal");
    const broken = "e".repeat(32);
    admin.nc.publish(keptHeadSubject(fn.namespace, fn.name, broken), "no head at all");
    expect((await failureOf(broken, 0)).code).to.equal("internal");
  });

  it("leaves no consumer behind", async () => {
    const { stream } = begin();
    const { view } = read(await findOpen(stream));
    view.stop();
    // A request for a consumer that was given up may have made one: it goes when nobody has asked it for a while.
    const endMs = Date.now() + 15_000;
    while ((await consumers()) > 0 && Date.now() < endMs) await new Promise((resolve) => setTimeout(resolve, 20));
    expect(await consumers()).to.equal(0);
    expect(reader.count(fn)).to.equal(0);
  });
});
