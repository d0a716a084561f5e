import { expect } from "chai";
import { randomBytes } from "node:crypto";
import { request } from "node:http";
import type { CallRecord } from "../../schemas/call.ts";
import { BuskerError } from "../../schemas/errors.ts";
import { collect, within } from "../../test/support/collector.ts";
import type { TestNats } from "../../test/support/nats.ts";
import { startTestStreams } from "../../test/support/streams.ts";
import { eventually } from "../../test/support/platform.ts";
import { type AcknowledgedPublisher, openAcknowledged } from "../bus/acknowledged.ts";
import { withoutBodies } from "../bus/call-record-wire.ts";
import { type CallRecords, openCallRecords } from "../bus/call-records.ts";
import { type Bus, openBus } from "../bus/connection.ts";
import { writtenResponse } from "../bus/fixtures/written-response.ts";
import { collectOrPart } from "../bus/result-parts.ts";
import { openTestGateway, type TestGateway } from "./fixtures/open-gateway.ts";

const head = { status: 201, headers: ["Content-Type", "text/plain", "X-Own", "1"] };

describe("sendParts()", function () {
  this.timeout(60_000);
  let nats: TestNats;
  let worker: Bus;
  let acknowledged: AcknowledgedPublisher;
  let records: CallRecords;
  let gateway: TestGateway;
  let numbers = 0;

  before(async () => {
    nats = await startTestStreams();
    const credentialsFile = nats.credsFile("queue-worker");
    worker = await openBus({ url: nats.url, credentialsFile, user: "queue-worker", name: "worker" });
    acknowledged = openAcknowledged(worker);
    records = await openCallRecords(worker, acknowledged);
    gateway = await openTestGateway(nats, []);
  });

  after(async () => {
    await gateway?.stop();
    acknowledged?.close();
    await worker?.close();
    await nats?.stop();
  });

  /** A call that runs and whose response is being written. */
  const begin = async (given = head, first = "first ") => {
    const id = `call-${(numbers += 1)}`;
    const written = writtenResponse(given, first);
    const { result, cancel } = written;
    const kept = await collectOrPart(acknowledged, { id, attempt: 1, result, cancel, maxBytes: 1_000_000_000 });
    if (kept.kind !== "parts") throw new Error(`it is ${kept.kind}`);
    const running: CallRecord = {
      id,
      function: { namespace: "openfaas-fn", name: "fn" },
      state: "running",
      priority: "normal",
      queuedMs: 1,
      attempts: [{ number: 1, startedMs: 2 }],
      response: { ...given, body: { bytes: 0, place: "parts", name: "1" } },
    };
    let seq = await records.write(withoutBodies(running), 0);
    const change = async (more: Partial<CallRecord>): Promise<void> => {
      seq = await records.write(withoutBodies({ ...running, ...more }), seq);
    };
    const succeed = async (): Promise<void> => {
      written.end();
      const { bytes } = await within(kept.ended, "its end");
      await change({ state: "succeeded", response: { ...given, body: { bytes, place: "parts", name: "1" } } });
    };
    return { ...written, id, change, succeed };
  };

  /** Asks for the response; what comes is put into one list: the status, texts, and `END` or `BROKEN`. */
  const ask = (id: string, method = "GET") => {
    const seen = collect<string>();
    const headers = collect<Readonly<Record<string, unknown>>>();
    const asked = request(`${gateway.url}/async-function/${id}/response`, { method }, (response) => {
      headers.push(response.headers);
      seen.push(String(response.statusCode));
      response.on("data", (chunk: Buffer) => seen.push(chunk.toString("latin1")));
      response.on("end", () => seen.push("END"));
      response.on("error", () => seen.push("BROKEN"));
    });
    asked.on("error", () => seen.push("FAILED"));
    asked.end();
    return { seen, headers, leave: () => asked.destroy() };
  };

  it("gives a response while it is written, head and bytes as they come, to its end", async () => {
    const { id, write, succeed } = await begin();
    const { seen, headers } = ask(id);
    expect(await seen.reach(2)).to.deep.equal(["201", "first "]);
    const [got] = await headers.reach(1);
    expect(got).to.include({ "x-own": "1", "x-call-id": id, "x-busker-call-state": "running" });
    expect(got).to.not.have.property("content-length");
    write("second");
    await seen.reach(3);
    await succeed();
    expect(await seen.reach(4)).to.deep.equal(["201", "first ", "second", "END"]);
  });

  it("gives one that is complete with its length, whatever the function said of it", async () => {
    const { id, write, succeed } = await begin(
      { ...head, headers: [...head.headers, "content-length", "2000004"] },
      "",
    );
    const content = randomBytes(2_000_004);
    write(content);
    await succeed();
    const response = await fetch(`${gateway.url}/async-function/${id}/response`);
    expect(response.status).to.equal(201);
    expect(response.headers.get("content-length")).to.equal("2000004");
    expect(response.headers.get("x-busker-call-state")).to.equal("succeeded");
    expect(Buffer.from(await response.arrayBuffer()).equals(content)).to.equal(true);
  });

  it("answers HEAD with the head alone", async () => {
    const { id, succeed } = await begin();
    await succeed();
    const { seen, headers } = ask(id, "HEAD");
    expect(await seen.reach(2)).to.deep.equal(["201", "END"]);
    expect(headers.all[0]).to.include({ "content-length": "6" });
  });

  it("breaks the client's connection when the response breaks off", async () => {
    const { id, fail } = await begin();
    const { seen } = ask(id);
    await seen.reach(2);
    fail(new BuskerError("replica_lost", "gone"));
    expect(await seen.reach(3)).to.deep.equal(["201", "first ", "BROKEN"]);
  });

  it("breaks it when the queue-worker that wrote is gone: the call has another attempt", async () => {
    const { id, change } = await begin();
    const { seen } = ask(id);
    await seen.reach(2);
    await change({
      attempts: [
        { number: 1, startedMs: 2 },
        { number: 2, startedMs: 3 },
      ],
    });
    expect(await seen.reach(3)).to.deep.equal(["201", "first ", "BROKEN"]);
  });

  it("says stream_gone where the response is not kept any more", async () => {
    const { id, change } = await begin();
    await change({ state: "succeeded", response: { ...head, body: { bytes: 6, place: "parts", name: "3" } } });
    const response = await fetch(`${gateway.url}/async-function/${id}/response`);
    expect(response.status).to.equal(410);
    expect(response.headers.get("x-busker-error")).to.equal("stream_gone");
  });

  it("reads no more when its client has gone", async () => {
    const { id, write, succeed } = await begin();
    const { seen, leave } = ask(id);
    await seen.reach(2);
    leave();
    for (let at = 0; at < 8; at += 1) write(Buffer.alloc(1_000_000));
    await succeed();
    await eventually("no reader", () => (gateway.reading() === 0 ? true : undefined));
  });
});
