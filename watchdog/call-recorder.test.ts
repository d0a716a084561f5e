import { expect } from "chai";
import type { FinishedCalls } from "../schemas/events.ts";
import { callDoneFilter, recordedCallFilter } from "../schemas/subjects.ts";
import { streams } from "../schemas/topology.ts";
import { collect } from "../test/support/collector.ts";
import { startTestNats, type TestNats } from "../test/support/nats.ts";
import { invocationOf, openTestReplica, type TestReplica } from "../test/support/replicas.ts";
import type { BodySink } from "../services/bus/body-sender.ts";
import { decodeRecord, type WholeRecord } from "../services/bus/call-record-wire.ts";
import { type Bus, openBus } from "../services/bus/connection.ts";
import { type Invocation, type Invoker, openInvoker } from "../services/bus/invoker.ts";
import { readLast } from "../services/bus/last-message.ts";
import type { CallResult } from "../services/bus/open-call.ts";
import { ensureTopology } from "../services/bus/topology.ts";
import { maxRecordedBytes } from "./call-recorder.ts";
import type { Mode } from "./mode.ts";

/** Answers by the path: `/status/404`, `/stream` in three parts, anything else with the body it got. */
const testMode: Mode = {
  takesStreams: true,
  start: async () => {},
  stop: async () => {},
  begin: (call, finish) => {
    const chunks: Uint8Array[] = [call.body];
    const status = Number(/^\/status\/(\d+)/.exec(call.path)?.[1] ?? 200);
    const headers = ["X-Own", "1"];
    const writeParts = (sink: BodySink): void => {
      for (const part of ["b", "c"]) sink.write(Buffer.from(part));
      sink.end();
    };
    const answer = (): void => {
      if (call.path === "/stream") finish({ status, headers, body: "a", stream: writeParts });
      else finish({ status, headers, body: Buffer.concat(chunks) });
    };
    if (!call.rest) setImmediate(answer);
    else {
      const { rest } = call;
      rest.listen({
        onData: (chunk) => {
          chunks.push(chunk);
          rest.consumed(chunk.length);
        },
        onEnd: answer,
        onError: () => undefined,
      });
      rest.consumed(call.body.length);
    }
    return () => {};
  },
};

describe("createCallRecorder()", function () {
  this.timeout(60_000);
  const [recording, plain] = ["recording", "plain"].map((name) => ({ namespace: "openfaas-fn", name })) as [
    Invocation["function"],
    Invocation["function"],
  ];
  const replicas: TestReplica[] = [];
  const recorded = collect<WholeRecord>();
  const silent = { namespace: "openfaas-fn", name: "silent" };
  const done = collect<string>();
  let nats: TestNats;
  let bus: Bus;
  let gateway: Bus;
  let invoker: Invoker;

  before(async () => {
    nats = await startTestNats();
    const open = (user: "admin" | "gateway"): Promise<Bus> =>
      openBus({ url: nats.url, credentialsFile: nats.credsFile(user), user, name: user });
    [bus, gateway] = [await open("admin"), await open("gateway")];
    await ensureTopology(bus);
    bus.nc.subscribe("busker.recorded.>", { callback: (_, message) => recorded.push(decodeRecord(message)) });
    bus.nc.subscribe(callDoneFilter, {
      callback: (_, message) => {
        for (const { id } of message.json<FinishedCalls>().calls) done.push(id);
      },
    });
    await bus.nc.flush();
    invoker = openInvoker(gateway);
    const options = { nats, slots: 2, mode: testMode };
    replicas.push(
      await openTestReplica({ ...options, function: recording, id: "recording-1", recordsBodies: true }),
      await openTestReplica({ ...options, function: plain, id: "plain-1" }),
      await openTestReplica({ ...options, function: silent, id: "silent-1", recordsNothing: true }),
    );
  });
  after(async () => {
    for (const replica of replicas) await replica.close();
    invoker?.close();
    for (const each of [bus, gateway]) await each?.close();
    await nats?.stop();
  });

  const call = (invocation: Partial<Invocation>, to = recording, body = ""): Promise<CallResult> => {
    const whole = { ...invocationOf(to, body), ...invocation };
    return new Promise((resolve) => void invoker.invoke(whole, resolve));
  };
  const head = (path: string) => ({ method: "PUT", path, headers: ["Content-Type", "text/x"] });
  const recordOf = async (callId: string): Promise<WholeRecord> => {
    const all = await recorded.until((records) => records.some(({ record }) => record.id === callId), callId);
    return all.find(({ record }) => record.id === callId) as WholeRecord;
  };

  it("records request and response of a call, and keeps them in stream RECORD", async () => {
    await call({ callId: "whole", head: head("/a?b") }, recording, "hello");
    const { record, request, response } = await recordOf("whole");
    expect([request.toString(), response.toString()]).to.deep.equal(["hello", "hello"]);
    expect(record).to.deep.include({ state: "succeeded", isSynchronous: true, function: recording });
    expect(record.request).to.deep.equal({
      head: head("/a?b"),
      contentType: "text/x",
      body: { bytes: 5, place: "here" },
    });
    expect(record.response).to.deep.equal({ status: 200, headers: ["X-Own", "1"], body: { bytes: 5, place: "here" } });
    expect(record.attempts.map(({ number, status }) => [number, status])).to.deep.equal([[1, 200]]);
    const kept = await readLast(gateway, streams.RECORD, recordedCallFilter("whole"));
    expect(kept && decodeRecord(kept).record.id).to.equal("whole");
  });

  it("puts nothing at all on the record of a function that wants none", async () => {
    await call({ callId: "silent" }, silent);
    await call({ callId: "after" }, plain);
    // Those of all replicas leave a quarter of a second after they ended, and this one ended before.
    await done.until((ids) => ids.includes("after"), "the call after it");
    await replicas.pop()?.close();
    await bus.nc.flush();
    expect(done.all).not.to.include("silent");
  });

  it("records a status of 400 and above as dead, which a list shows as failed", async () => {
    await call({ callId: "failed", head: head("/status/404") });
    expect((await recordOf("failed")).record).to.deep.include({ state: "dead" });
  });

  it("records bodies that are streamed, both ways", async () => {
    const upload = (sink: BodySink): void => {
      sink.write(Buffer.from("lo"));
      sink.end();
    };
    await call({ callId: "up", head: head("/"), upload, canStream: true }, recording, "hel");
    expect((await recordOf("up")).request.toString()).to.equal("hello");
    const result = await call({ callId: "down", head: head("/stream"), canStream: true });
    if (result.kind === "streaming") result.rest.listen({ onData: () => {}, onEnd: () => {}, onError: () => {} });
    expect((await recordOf("down")).response.toString()).to.equal("abc");
  });

  it("records of a body above the limit its size only", async () => {
    const body = "x".repeat(maxRecordedBytes + 1);
    await call({ callId: "large", canStream: true }, recording, body);
    const { record, request, response } = await recordOf("large");
    expect([request.length, response.length]).to.deep.equal([0, 0]);
    expect(record.request?.body).to.deep.equal({ bytes: body.length, place: "none" });
    expect(record.response?.body).to.deep.equal({ bytes: body.length, place: "none" });
  });

  it("leaves a durable call to its own record, in batches of finished calls, too", async () => {
    await call({ callId: "durable", isRecorded: true });
    await call({ callId: "after", head: head("/") });
    await recordOf("after");
    await done.until((ids) => ids.includes("after"), "the batch");
    expect(recorded.all.map(({ record }) => record.id)).to.not.include("durable");
    expect(done.all).to.not.include("durable");
  });

  it("records nothing of a function that does not ask for it", async () => {
    await call({ callId: "plain" }, plain, "hello");
    await done.until((ids) => ids.includes("plain"), "the batch");
    expect(recorded.all.map(({ record }) => record.id)).to.not.include("plain");
  });
});
