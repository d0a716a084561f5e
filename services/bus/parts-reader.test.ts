import { jetstreamManager } from "@nats-io/jetstream";
import { expect } from "chai";
import { createHash, randomBytes } from "node:crypto";
import type { CallRecord } from "../../schemas/call.ts";
import { BuskerError } from "../../schemas/errors.ts";
import { partsSubject } from "../../schemas/subjects.ts";
import { collect, within } from "../../test/support/collector.ts";
import type { TestNats } from "../../test/support/nats.ts";
import { startTestStreams } from "../../test/support/streams.ts";
import { type AcknowledgedPublisher, openAcknowledged } from "./acknowledged.ts";
import { withoutBodies } from "./call-record-wire.ts";
import { type CallRecords, openCallRecords } from "./call-records.ts";
import { type Bus, openBus } from "./connection.ts";
import { writtenResponse } from "./fixtures/written-response.ts";
import { iterateBody } from "./iterate-body.ts";
import { type OpenedParts, openPartsReader, type PartsReader } from "./parts-reader.ts";
import { collectOrPart } from "./result-parts.ts";

const mebibyte = 1024 * 1024;
const head = { status: 200, headers: ["x-some", "thing"] };
const nothing = new Uint8Array();

const recordOf = (id: string, attempt: number, state: CallRecord["state"] = "running"): CallRecord => ({
  id,
  function: { namespace: "openfaas-fn", name: "fn" },
  state,
  priority: "normal",
  queuedMs: 1,
  attempts: [{ number: attempt, startedMs: 2 }],
  response: { ...head, body: { bytes: 0, place: "parts", name: String(attempt) } },
});

describe("openPartsReader()", function () {
  this.timeout(60_000);
  let nats: TestNats;
  let worker: Bus;
  let gateway: Bus;
  let acknowledged: AcknowledgedPublisher;
  let records: CallRecords;
  let reader: PartsReader;
  let count = 0;

  const open = (user: "queue-worker" | "gateway"): Promise<Bus> =>
    openBus({ url: nats.url, credentialsFile: nats.credsFile(user), user, name: user });

  before(async () => {
    nats = await startTestStreams();
    [worker, gateway] = await Promise.all([open("queue-worker"), open("gateway")]);
    acknowledged = openAcknowledged(worker);
    records = await openCallRecords(worker, acknowledged);
    reader = openPartsReader(gateway, await openCallRecords(gateway, openAcknowledged(gateway)));
  });

  after(async () => {
    reader?.close();
    acknowledged?.close();
    await Promise.all([worker?.close(), gateway?.close()]);
    await nats?.stop();
  });

  /** A response that is being written in parts, its first bytes in the stream. */
  const begin = async (first = "first ", attempt = 1) => {
    const id = `call ${(count += 1)}`;
    const written = writtenResponse(head, first);
    const { result, cancel } = written;
    const kept = await within(
      collectOrPart(acknowledged, { id, attempt, result, cancel, maxBytes: 1024 * mebibyte }),
      "its beginning",
    );
    if (kept.kind !== "parts") throw new Error(`it is ${kept.kind}`);
    const seq = await records.write(withoutBodies(recordOf(id, attempt)), 0);
    return { ...written, id, seq, ended: kept.ended, record: recordOf(id, attempt) };
  };

  /** Reads at once what comes: chunks as text, "END", or the error's code. */
  const follow = ({ rest }: OpenedParts, isPatient = false) => {
    const seen = collect<string>();
    rest.listen({
      onData: (chunk) => {
        seen.push(Buffer.from(chunk).toString());
        if (!isPatient) rest.consumed(chunk.length);
      },
      onEnd: () => seen.push("END"),
      onError: (error) => seen.push(error.code),
    });
    return seen;
  };

  const digestOf = async (opened: OpenedParts): Promise<string> => {
    const hash = createHash("sha256");
    for await (const chunk of iterateBody(nothing, opened.rest, opened.stop)) hash.update(chunk);
    return hash.digest("hex");
  };

  const errorOf = (promise: Promise<unknown>): Promise<unknown> =>
    promise.then(
      () => undefined,
      (error: unknown) => (error instanceof BuskerError ? error.code : error),
    );

  it("gives what is there, and what comes while it is written, and the end", async () => {
    const { record, write, end } = await begin();
    const opened = await reader.open(record);
    expect(opened.head).to.deep.equal(head);
    const seen = follow(opened);
    await seen.reach(1);
    write("second");
    await seen.reach(2);
    end();
    expect(await seen.reach(3)).to.deep.equal(["first ", "second", "END"]);
  });

  it("gives a hundred readers of one large response the same, while it is written and afterwards", async () => {
    const { id, record, write, end, ended, told } = await begin("");
    const opened = await Promise.all(Array.from({ length: 100 }, () => reader.open(record)));
    const digests = Promise.all(opened.map(digestOf));
    const content = randomBytes(4 * mebibyte);
    for (let at = 0; at < content.length; at += 32_768) write(content.subarray(at, at + 32_768));
    end();
    expect(await within(ended, "its end")).to.deep.equal({ kind: "complete", bytes: content.length });
    expect(told.consumedBytes).to.equal(content.length);
    const due = createHash("sha256").update(content).digest("hex");
    expect(new Set(await within(digests, "all readers", 25_000))).to.deep.equal(new Set([due]));
    expect(await digestOf(await reader.open(recordOf(id, 1, "succeeded")))).to.equal(due);
    expect(reader.count()).to.equal(0);
  });

  it("asks for no more while its reader does not take what came, and holds up no other", async () => {
    const { record, write, end, ended } = await begin("");
    const slow = follow(await reader.open(record), true);
    const content = randomBytes(8 * mebibyte);
    const due = createHash("sha256").update(content).digest("hex");
    for (let at = 0; at < content.length; at += 32_768) write(content.subarray(at, at + 32_768));
    end();
    await within(ended, "its end");
    expect(await digestOf(await reader.open(record))).to.equal(due);
    expect(slow.all.length).to.be.at.most(6);
    expect(reader.count()).to.equal(1);
    reader.close();
    expect(reader.count()).to.equal(0);
  });

  it("tells what a response broke off with, behind what there is of it", async () => {
    const { record, fail } = await begin();
    const seen = follow(await reader.open(record));
    fail(new BuskerError("deadline_exceeded", "too late"));
    expect(await seen.reach(2)).to.deep.equal(["first ", "deadline_exceeded"]);
  });

  it("ends when who writes it is gone: the call has another attempt", async () => {
    const { id, record, seq } = await begin();
    const seen = follow(await reader.open(record));
    await seen.reach(1);
    await records.write(
      withoutBodies({ ...recordOf(id, 2), attempts: [...record.attempts, { number: 2, startedMs: 3 }] }),
      seq,
    );
    expect(await seen.reach(2)).to.deep.equal(["first ", "stream_gone"]);
  });

  it("ends when the call is over and its response has no end", async () => {
    const { id } = await begin();
    const seen = follow(await reader.open(recordOf(id, 1, "dead")));
    expect(await seen.reach(2)).to.deep.equal(["first ", "stream_gone"]);
  });

  it("says stream_gone when the beginning is not kept any more, instead of the rest", async () => {
    const { id, record, write, end, ended } = await begin();
    write("more");
    end();
    await within(ended, "its end");
    const manager = await jetstreamManager(worker.nc, { checkAPI: false });
    await manager.streams.purge("PARTS", { filter: partsSubject(id, 1), keep: 2 });
    expect(await errorOf(reader.open(record))).to.equal("stream_gone");
    expect(await errorOf(reader.open(recordOf("unheard of", 1)))).to.equal("stream_gone");
  });

  it("never passes over what is gone from the middle", async () => {
    const { id, record, write, end, ended } = await begin();
    write("more");
    end();
    await within(ended, "its end");
    const opened = await reader.open(record);
    const manager = await jetstreamManager(worker.nc, { checkAPI: false });
    await manager.streams.purge("PARTS", { filter: partsSubject(id, 1), keep: 1 });
    expect(await follow(opened).reach(1)).to.deep.equal(["stream_gone"]);
  });

  it("gives one response of an attempt that was written twice, whoever began it first and goes on", async () => {
    const { id, record, write } = await begin("of the first ");
    const again = writtenResponse(head, "of the second ");
    const { result, cancel } = again;
    const before = follow(await reader.open(record));
    await before.reach(1);
    const kept = await collectOrPart(acknowledged, { id, attempt: 1, result, cancel, maxBytes: mebibyte });
    write("and the first");
    again.write("and the second");
    again.end();
    if (kept.kind !== "parts") throw new Error(`it is ${kept.kind}`);
    await within(kept.ended, "its end");
    const after = follow(await reader.open(record));
    await after.until((all) => all.includes("END"), "its end");
    expect(after.all.join("")).to.equal("of the second and the secondEND");
    await records.write(withoutBodies(recordOf(id, 1, "retrying")), (await records.read(id))?.seq ?? 0);
    await before.until((all) => all.at(-1) === "stream_gone", "its end");
    expect(before.all.join("")).to.equal("of the first and the firststream_gone");
  });

  it("says call_not_found of a record whose response is elsewhere", async () => {
    const { response: _, ...none } = recordOf("c", 1);
    expect(await errorOf(reader.open(none))).to.equal("call_not_found");
  });

  it("goes on over a restart of the server, without a gap or a repeat", async () => {
    const { id, record, seq } = await begin();
    const seen = follow(await reader.open(record));
    await seen.reach(1);
    const isBack = new Promise<void>((resolve) => {
      const unlisten = worker.onChange((connected) => {
        if (!connected) return;
        unlisten();
        resolve();
      });
    });
    await nats.restart();
    await within(isBack, "the worker's connection");
    // Its writer's invocation has failed with the server; the record says so.
    await within(
      (async () => {
        for (;;)
          try {
            return await records.write(withoutBodies(recordOf(id, 1, "retrying")), seq);
          } catch (error) {
            if (!(error instanceof BuskerError && error.code === "bus_unavailable")) throw error;
            await new Promise((resolve) => setImmediate(resolve));
          }
      })(),
      "the record",
    );
    expect(await seen.reach(2)).to.deep.equal(["first ", "stream_gone"]);
  });

  it("leaves no consumer behind, whether it was read to its end or left", async () => {
    const { record, end } = await begin();
    const left = await reader.open(record);
    await follow(left).reach(1);
    left.stop();
    const seen = follow(await reader.open(record));
    end();
    await seen.reach(2);
    const manager = await jetstreamManager(worker.nc, { checkAPI: false });
    await within(
      (async () => {
        while ((await manager.streams.info("PARTS")).state.consumer_count > 0);
      })(),
      "no consumer",
    );
  });
});
