import { expect } from "chai";
import { randomBytes } from "node:crypto";
import type { CallRecord, RecordState } from "../../schemas/call.ts";
import { callToken, deadSubject, outcomeSubject, partsSubject } from "../../schemas/subjects.ts";
import { stores } from "../../schemas/topology.ts";
import { collect, within } from "../../test/support/collector.ts";
import type { TestNats } from "../../test/support/nats.ts";
import { startTestStreams } from "../../test/support/streams.ts";
import { createAcceptor } from "../bus/accept-calls.ts";
import { type AcknowledgedPublisher, openAcknowledged } from "../bus/acknowledged.ts";
import { encodeRecord, withoutBodies } from "../bus/call-record-wire.ts";
import { type CallRecords, openCallRecords } from "../bus/call-records.ts";
import { type CallStorage, openCallStorage } from "../bus/call-storage.ts";
import { type Bus, openBus } from "../bus/connection.ts";
import { writtenResponse } from "../bus/fixtures/written-response.ts";
import { type ObjectStore, openStore } from "../bus/objects.ts";
import { collectOrPart } from "../bus/result-parts.ts";
import { startSweep, sweep, type Swept } from "./sweep.ts";

const hour = 3600_000;
const fn = { namespace: "openfaas-fn", name: "fn" };
const later = (): number => Date.now() + 2 * hour;

describe("sweep()", function () {
  this.timeout(60_000);
  let nats: TestNats;
  let bus: Bus;
  let acknowledged: AcknowledgedPublisher;
  let records: CallRecords;
  let storage: CallStorage;
  let payloads: ObjectStore;
  let count = 0;

  before(async () => {
    nats = await startTestStreams();
    const credentialsFile = nats.credsFile("queue-worker");
    bus = await openBus({ url: nats.url, credentialsFile, user: "queue-worker", name: "worker" });
    acknowledged = openAcknowledged(bus);
    records = await openCallRecords(bus, acknowledged);
    storage = await openCallStorage(bus);
    payloads = await openStore(bus, stores.payloads);
  });

  after(async () => {
    acknowledged?.close();
    await bus?.close();
    await nats?.stop();
  });

  const nextId = (): string => `call ${(count += 1)}/ü`;
  const recordOf = (id: string, state: RecordState, more: Partial<CallRecord> = {}): CallRecord => ({
    id,
    function: fn,
    state,
    priority: "normal",
    queuedMs: 1,
    attempts: [{ number: 1, startedMs: 2 }],
    ...more,
  });
  const write = (record: CallRecord, seq = 0): Promise<number> => records.write(withoutBodies(record), seq);
  const expired = { expiresMs: Date.now() - hour };
  const inParts = (attempt = 1): Pick<CallRecord, "response"> => ({
    response: { status: 200, headers: [], body: { bytes: 5, place: "parts", name: String(attempt) } },
  });
  const withPayload = (name: string): Pick<CallRecord, "request"> => ({
    request: {
      head: { method: "POST", path: "/", headers: [] },
      body: { bytes: 4, place: "payload", name },
    },
  });
  /** Writes a message that needs what the record names, where dead letters or outcomes are. */
  const publish = async (subject: string, record: CallRecord): Promise<void> => {
    const { headers, payload } = encodeRecord(bus.source, withoutBodies(record));
    await acknowledged.publish(subject, payload, headers);
  };
  const writeParts = async (id: string, attempt = 1): Promise<string> => {
    const { result, cancel, end } = writtenResponse({ status: 200, headers: [] }, "parts");
    const kept = await collectOrPart(acknowledged, { id, attempt, result, cancel, maxBytes: 1_000_000 });
    end();
    if (kept.kind === "parts") await kept.ended;
    return partsSubject(id, attempt);
  };
  const putBody = async (id: string): Promise<string> => {
    const name = `${callToken(id)}.${randomBytes(4).toString("hex")}`;
    await payloads.put(name, new Blob(["body"]).stream());
    return name;
  };
  const run = (nowMs: () => number = Date.now): Promise<Swept> =>
    within(sweep({ storage, records, nowMs }, new AbortController().signal), "a sweep", 20_000);
  const hasParts = async (subject: string): Promise<boolean> => (await storage.partSubjects()).includes(subject);
  const hasBody = async (name: string): Promise<boolean> => (await payloads.size(name)) !== undefined;

  it("takes away records that have expired, and no others", async () => {
    const [old, young, open] = [nextId(), nextId(), nextId()];
    const seqs = await Promise.all([
      write(recordOf(old, "succeeded", expired)),
      write(recordOf(young, "succeeded", { expiresMs: later() })),
      write(recordOf(open, "running")),
    ]);
    expect((await run()).records).to.equal(1);
    const left = new Set<number>();
    await storage.scan("RESULTS", new AbortController().signal, (_headers, seq) => left.add(seq));
    expect(seqs.map((seq) => left.has(seq))).to.deep.equal([false, true, true]);
    expect((await run()).records).to.equal(0);
  });

  it("reads the headers of records with large bodies alone", async () => {
    const body = randomBytes(3_000_000);
    for (let at = 0; at < 3; at += 1)
      await records.write({ record: recordOf(nextId(), "succeeded", expired), request: body, response: body }, 0);
    const before = bus.nc.stats().inBytes;
    expect((await run()).records).to.equal(3);
    expect(bus.nc.stats().inBytes - before).to.be.lessThan(1_000_000);
  });

  it("keeps parts that a record names, and takes them away with it", async () => {
    const [kept, gone] = [nextId(), nextId()];
    const subjects = [await writeParts(kept), await writeParts(gone)];
    await write(recordOf(kept, "succeeded", { expiresMs: later(), ...inParts() }));
    await write(recordOf(gone, "succeeded", { ...expired, ...inParts() }));
    expect((await run()).responses).to.equal(1);
    expect(await Promise.all(subjects.map(hasParts))).to.deep.equal([true, false]);
  });

  it("takes away the parts of an attempt that is over, and none of one that may be running", async () => {
    const [running, retrying, queued, over] = [nextId(), nextId(), nextId(), nextId()];
    const attempts = [
      { number: 1, startedMs: 1 },
      { number: 2, startedMs: 2 },
    ];
    await write(recordOf(running, "running", { attempts }));
    await write(recordOf(retrying, "retrying", { attempts }));
    await write(recordOf(queued, "queued", { attempts: [] }));
    await write(recordOf(over, "succeeded", { attempts, ...inParts(2) }));
    const gone = [await writeParts(running, 1), await writeParts(retrying, 2), await writeParts(over, 1)];
    const kept = [
      await writeParts(running, 2),
      await writeParts(running, 3),
      await writeParts(retrying, 3),
      await writeParts(queued, 1),
      await writeParts(over, 2),
    ];
    expect((await run(later)).responses).to.equal(3);
    expect(await Promise.all(gone.map(hasParts))).to.deep.equal([false, false, false]);
    expect(await Promise.all(kept.map(hasParts))).to.deep.equal(kept.map(() => true));
  });

  it("keeps parts without a record while they are young, and those that a dead letter or an outcome names", async () => {
    const [orphan, dead, told] = [nextId(), nextId(), nextId()];
    const subjects = [await writeParts(orphan), await writeParts(dead), await writeParts(told)];
    await publish(deadSubject(fn.namespace, fn.name, dead), recordOf(dead, "dead", inParts()));
    await publish(outcomeSubject(fn.namespace, fn.name), recordOf(told, "succeeded", inParts()));
    expect((await run()).responses).to.equal(0);
    expect((await run(later)).responses).to.equal(1);
    expect(await Promise.all(subjects.map(hasParts))).to.deep.equal([false, true, true]);
  });

  it("keeps a body while a call, a record, a dead letter or an outcome names it", async () => {
    const ids = Array.from({ length: 5 }, nextId);
    const names = await Promise.all(ids.map(putBody));
    const [queued = "", over = "", dead = "", told = "", running = ""] = ids;
    const [queuedName = "", overName = "", deadName = "", toldName = ""] = names;
    // Of a call that was put off for longer than records live: nothing but the queue knows it.
    const acceptor = createAcceptor({
      bus,
      acknowledged,
      records: { write: () => Promise.resolve(1), read: records.read },
    });
    await acceptor.accept({
      id: queued,
      function: fn,
      priority: "low",
      queuedMs: 1,
      head: { method: "POST", path: "/", headers: [] },
      body: new Uint8Array(),
      payload: { place: "payload", name: queuedName, bytes: 4 },
    });
    await write(recordOf(over, "succeeded", { expiresMs: Date.now() + 10 * hour, ...withPayload(overName) }));
    await publish(deadSubject(fn.namespace, fn.name, dead), recordOf(dead, "dead", withPayload(deadName)));
    await publish(outcomeSubject(fn.namespace, fn.name), recordOf(told, "succeeded", withPayload(toldName)));
    await write(recordOf(running, "running"));
    expect((await run(later)).payloads).to.equal(0);
    expect(await Promise.all(names.map(hasBody))).to.deep.equal(names.map(() => true));
  });

  it("takes a body away that nobody names: at once with its record, else when it is old", async () => {
    const [over, orphan, twice] = [nextId(), nextId(), nextId()];
    const names = [await putBody(over), await putBody(orphan), await putBody(twice), await putBody(twice)];
    await write(recordOf(over, "succeeded", { ...expired, ...withPayload(names[0] ?? "") }));
    await write(recordOf(twice, "succeeded", { expiresMs: Date.now() + 10 * hour, ...withPayload(names[2] ?? "") }));
    expect((await run()).payloads).to.equal(1);
    expect(await Promise.all(names.map(hasBody))).to.deep.equal([false, true, true, true]);
    expect((await run(later)).payloads).to.equal(2);
    expect(await Promise.all(names.map(hasBody))).to.deep.equal([false, false, true, false]);
  });

  it("takes away what an upload that was broken off has left, and leaves no trace of what was removed", async () => {
    const name = await putBody(nextId());
    await payloads.remove(name);
    await acknowledged.publish(
      "$O.payloads.C.brokenoff",
      "half",
      encodeRecord("x", withoutBodies(recordOf("x", "queued"))).headers,
    );
    expect((await storage.payloads.survey()).strays.length).to.equal(2);
    expect((await run()).strays).to.equal(0);
    expect((await run(later)).strays).to.equal(2);
    expect((await storage.payloads.survey()).strays).to.deep.equal([]);
  });

  it("is done by one of several, and by another when that one stops", async () => {
    const id = nextId();
    await write(recordOf(id, "succeeded", expired));
    const swept = collect<string>();
    const start = (name: string, other: Bus) =>
      startSweep(other, records, { firstMs: 1, everyMs: 20, onSwept: () => swept.push(name) });
    const first = await start("first", bus);
    await swept.reach(2);
    const second = await start("second", bus);
    await swept.reach(5);
    expect(new Set(swept.all)).to.deep.equal(new Set(["first"]));
    await first.stop();
    await swept.until((all) => all.at(-1) === "second", "the second");
    await second.stop();
    expect(await records.read(id)).to.equal(undefined);
  });
});
