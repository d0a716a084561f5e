import { expect } from "chai";
import { spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { CallRecord, OutcomeTarget } from "../../../schemas/call.ts";
import { partsSubject } from "../../../schemas/subjects.ts";
import { stores, streams } from "../../../schemas/topology.ts";
import { collect, within } from "../../../test/support/collector.ts";
import { startTestNats, type TestNats } from "../../../test/support/nats.ts";
import { purgeStream } from "../../../test/support/purge.ts";
import { type AcknowledgedPublisher, openAcknowledged } from "../../bus/acknowledged.ts";
import { BuskerError } from "../../../schemas/errors.ts";
import { silentLog } from "../../runtime/log.ts";
import { decodeRecord, type WholeRecord } from "../../bus/call-record-wire.ts";
import { ensureCallbackKey } from "../../bus/callback-key.ts";
import { type Bus, type BusMessage, openBus } from "../../bus/connection.ts";
import { decodeDurable } from "../../bus/durable-call.ts";
import { openStore } from "../../bus/objects.ts";
import { putOutcome, tellAgain } from "../../bus/outcomes.ts";
import { retryUntilReady } from "../../bus/retry.ts";
import { PartsWriter } from "../../bus/parts-writer.ts";
import { ensureTopology } from "../../bus/topology.ts";
import { startReceiver } from "./fixtures/receiver.ts";
import { startTeller, type TellerOptions } from "./fixtures/teller.ts";
import { publishOutcomes } from "./publish-outcomes.ts";
import { settleOutcome, type SettleParts, type TellCount } from "./settle-outcome.ts";

const fn = { namespace: "openfaas-fn", name: "resize" };
const url = (text: string): OutcomeTarget => ({ kind: "url", url: text });

describe("startOutcomes()", () => {
  let nats: TestNats;
  let bus: Bus;
  let acknowledged: AcknowledgedPublisher;
  let numbers = 0;
  const cleanUps: (() => Promise<void>)[] = [];

  /** The outcome of a call of its own. */
  const outcome = (more: Partial<CallRecord> = {}, body = "done"): WholeRecord => {
    numbers += 1;
    const bytes = Buffer.byteLength(body);
    const record: CallRecord = {
      id: `call-${numbers}`,
      function: fn,
      state: "succeeded",
      priority: "high",
      queuedMs: 1000,
      endedMs: 3000,
      attempts: [{ number: 1, startedMs: 1500, endedMs: 3000, status: 201 }],
      request: { head: { method: "POST", path: "/", headers: [] }, body: { bytes: 2, place: "here" } },
      response: { status: 201, headers: ["Content-Type", "text/plain", "X-Own", "1"], body: { bytes, place: "here" } },
      ...more,
    };
    return { record, request: Buffer.from("hi"), response: Buffer.from(body) };
  };

  const start = async (env: Record<string, string> = {}, more: Partial<TellerOptions> = {}) => {
    const counts = collect<TellCount>();
    const teller = await startTeller({
      url: nats.url,
      credentialsFile: nats.credsFile("queue-worker"),
      env: { BUSKER_DATA: nats.dataFolder, BUSKER_CALLBACK_ALLOW: "127.0.0.1", BUSKER_PORT: "8099", ...env },
      count: (_name, result) => counts.push(result),
      ...more,
    });
    // Before the receivers: one that goes away would be told again in the next test.
    cleanUps.unshift(teller.stop);
    return { counts, stop: teller.stop };
  };

  const receive = async (...args: Parameters<typeof startReceiver>) => {
    const receiver = await startReceiver(...args);
    cleanUps.push(receiver.stop);
    return receiver;
  };

  const publish = (whole: WholeRecord, ...targets: readonly OutcomeTarget[]) =>
    publishOutcomes(acknowledged, "/test", whole, targets);

  /** What comes on a subject from now on. */
  const listen = async <T>(subject: string, read: (message: BusMessage) => T) => {
    const got = collect<T>();
    bus.nc.subscribe(subject, { callback: (_error, message) => got.push(read(message)) });
    await bus.nc.flush();
    return got;
  };

  const letters = () => listen("busker.dead.>", (message) => decodeRecord(message));

  before(async () => {
    nats = await startTestNats();
    await ensureCallbackKey(nats.dataFolder);
    bus = await openBus({ url: nats.url, credentialsFile: nats.credsFile("admin"), user: "admin", name: "test" });
    await ensureTopology(bus);
    acknowledged = openAcknowledged(bus);
  });

  afterEach(async () => {
    for (const clean of cleanUps.splice(0)) await clean();
    await purgeStream(bus, streams.OUTCOMES.name);
  });

  after(async () => {
    acknowledged?.close();
    await bus?.close();
    await nats?.stop();
  });

  it("posts the response with its headers, the call's, and a signature that the receiver can check", async () => {
    const receiver = await receive((response) => response.end());
    const { counts } = await start();
    const whole = outcome();
    await publish(whole, url(`${receiver.url}/told?a=b`));
    const [got] = await receiver.received.reach(1);
    await counts.reach(1);
    expect(counts.all).to.deep.equal(["told"]);
    expect(got?.path).to.equal("/told?a=b");
    expect(got?.body.toString()).to.equal("done");
    expect(got?.headers).to.include({
      "content-type": "text/plain",
      "content-length": "4",
      "x-own": "1",
      "x-call-id": whole.record.id,
      "x-function-status": "201",
      "x-function-name": "resize",
      "x-duration-seconds": "1.500000",
      "x-start-time": "1000000000",
      "x-retry": "0",
      "x-retry-max": "9",
      host: `127.0.0.1:${receiver.port}`,
    });
    expect(got?.headers["user-agent"]).to.match(/^busker-queue-worker\/\d/);
    const secret = (await readFile(join(nats.dataFolder, "secrets", "callback-key"), "utf8")).trim();
    const key = Buffer.from(secret.replace("whsec_", ""), "base64");
    const { "webhook-id": id, "webhook-timestamp": at, "webhook-signature": signature } = got?.headers ?? {};
    expect(id).to.match(/^[^.]+$/);
    expect(signature).to.equal(
      `v1,${createHmac("sha256", key)
        .update(`${String(id)}.${String(at)}.done`)
        .digest("base64")}`,
    );
  });

  it("tells of a call without a response what the platform has to say", async () => {
    const receiver = await receive((response) => response.end());
    await start();
    const error = { code: "deadline_exceeded", message: "it took too long" } as const;
    const { response: _none, ...record } = outcome({ state: "dead", error }).record;
    await publish({ record, request: Buffer.alloc(0), response: Buffer.alloc(0) }, url(receiver.url));
    const [got] = await receiver.received.reach(1);
    expect(got?.body.toString()).to.equal("it took too long");
    expect(got?.headers).to.include({ "x-function-status": "504", "x-busker-error": "deadline_exceeded" });
  });

  it("streams a response that is in the object store, and signs what it sends", async () => {
    const receiver = await receive((response) => response.end());
    await start();
    const body = Buffer.alloc(3 * 1024 * 1024, "large ");
    const store = await openStore(bus, stores.payloads);
    await store.put("large-one", new Blob([body]).stream());
    const whole = outcome({
      response: { status: 200, headers: [], body: { bytes: body.length, place: "payload", name: "large-one" } },
    });
    await publish({ ...whole, response: Buffer.alloc(0) }, url(receiver.url));
    const [got] = await receiver.received.reach(1);
    expect(got?.body.equals(body)).to.equal(true);
    expect(got?.headers["content-length"]).to.equal(String(body.length));
  });

  it("sends on a response that is kept in parts", async () => {
    const receiver = await receive((response) => response.end());
    await start();
    const chunks = Array.from({ length: 40 }, (_, at) => Buffer.alloc(64 * 1024, `${at} `));
    const bytes = 40 * 64 * 1024;
    const whole = outcome({
      response: { status: 200, headers: ["Content-Type", "text/csv"], body: { bytes, place: "parts", name: "1" } },
    });
    const { id } = whole.record;
    const writer = new PartsWriter({
      acknowledged,
      subject: partsSubject(id, 1),
      head: { status: 200, headers: [] },
      maxBytes: 2 * bytes,
      onKept: () => {},
      onGivenUp: () => {},
    });
    await writer.open();
    for (const chunk of chunks) writer.onData(chunk);
    writer.onEnd();
    await writer.ended;
    await publish({ ...whole, response: Buffer.alloc(0) }, url(receiver.url));
    const [got] = await receiver.received.reach(1);
    expect(got?.body.equals(Buffer.concat(chunks))).to.equal(true);
    expect(got?.headers["content-type"]).to.equal("text/csv");
  });

  it("ends at once, and says so, when the response is not kept any more", async () => {
    const receiver = await receive((response) => response.end());
    const { counts } = await start();
    const dead = await letters();
    const body = { bytes: 5_000_000, place: "parts", name: "1" } as const;
    await publish(outcome({ response: { status: 200, headers: [], body } }), url(receiver.url));
    const [letter] = await dead.reach(1);
    await counts.reach(1);
    expect(counts.all).to.deep.equal(["dead"]);
    expect(letter?.record.error?.code).to.equal("stream_gone");
    expect(receiver.received.all).to.deep.equal([]);
  });

  it("tells again one that answers 500, under the same webhook-id, until it answers 200", async () => {
    const receiver = await receive((response, number) => {
      // Sooner than it would by itself: the test need not wait for long.
      response.writeHead(number < 3 ? 503 : 200, { "Retry-After": "1" }).end();
    });
    const { counts } = await start();
    await publish(outcome(), url(receiver.url));
    const got = await receiver.received.reach(3);
    await counts.reach(3);
    expect(counts.all).to.deep.equal(["retried", "retried", "told"]);
    expect(new Set(got.map(({ headers }) => headers["webhook-id"])).size).to.equal(1);
    // Not sooner than it was asked to: clocks and timers are a little apart.
    for (const [at, { atMs }] of got.entries()) if (at > 0) expect(atMs - (got[at - 1]?.atMs ?? 0)).to.be.above(900);
  });

  it("puts one that failed back once, though it is settled twice, because a process may die in between", async () => {
    const repeats: boolean[] = [];
    const parts: SettleParts = {
      acknowledged: {
        ...acknowledged,
        publish: async (...args) => {
          const ack = await acknowledged.publish(...args);
          repeats.push(ack.isDuplicate);
          return ack;
        },
      },
      source: "/test",
      attempts: 5,
      log: silentLog,
      count: () => {},
    };
    const failed = { kind: "failed", error: new BuskerError("outcome_not_told", "it answered 500") } as const;
    const taken = { whole: outcome(), target: url("http://127.0.0.1:1/"), tries: 1, dueMs: 0 };
    for (const seq of [901, 901, 902])
      expect(await settleOutcome(parts, { ...taken, seq, deliveries: 1 }, failed)).to.deep.equal({ kind: "done" });
    // Another message is another try: it must not be taken for a repeat.
    expect(repeats).to.deep.equal([false, true, false]);
  });

  it("reaches a receiver that was down when it comes back", async () => {
    const first = await startReceiver((response) => response.end());
    await first.stop();
    const { counts } = await start();
    await publish(outcome(), url(first.url));
    await counts.reach(1);
    expect(counts.all).to.deep.equal(["retried"]);
    const again = await receive((response) => response.end(), first.port);
    await again.received.reach(1, 15_000);
    await counts.until((all) => all.at(-1) === "told", "told");
  });

  it("makes a dead letter of an outcome that nobody takes, which can be told again", async () => {
    let status = 500;
    const receiver = await receive((response) => response.writeHead(status).end());
    const { counts } = await start({ BUSKER_CALLBACK_ATTEMPTS: "2" });
    const dead = await letters();
    const callbackUrl = `${receiver.url}/back`;
    const whole = outcome({ callbackUrl, parent: "before" });
    await publish(whole, url(callbackUrl));
    const [letter] = await dead.reach(1);
    await counts.reach(2);
    expect(counts.all).to.deep.equal(["retried", "dead"]);
    expect(letter?.record).to.include({ id: `${whole.record.id}.callback`, state: "dead", parent: whole.record.id });
    expect(letter?.record.error?.code).to.equal("outcome_not_told");
    expect(letter?.record.error?.message).to.equal(
      `${callbackUrl} was not told: it answered 500; that was try 2, the last`,
    );
    status = 200;
    expect(await tellAgain(acknowledged, "/test", letter as WholeRecord)).to.equal(true);
    const got = await receiver.received.reach(3);
    expect(new Set(got.map(({ headers }) => headers["webhook-id"])).size).to.equal(1);
    expect(got[2]?.headers).to.include({ "x-call-id": whole.record.id, "x-function-status": "201" });
    expect(got[2]?.body.toString()).to.equal("done");
  });

  it("ends at once with 410, because the receiver is gone for good", async () => {
    const receiver = await receive((response) => response.writeHead(410).end());
    const { counts } = await start();
    await publish(outcome(), url(receiver.url));
    await counts.reach(1);
    expect(counts.all).to.deep.equal(["dead"]);
  });

  it("does not follow a redirect to where it may not call, and says where it led", async () => {
    const receiver = await receive((response) =>
      response.writeHead(302, { Location: "http://169.254.169.254/latest/meta-data/" }).end(),
    );
    await start({ BUSKER_CALLBACK_ATTEMPTS: "1" });
    const dead = await letters();
    await publish(outcome(), url(receiver.url));
    const [letter] = await dead.reach(1);
    expect(letter?.record.error?.message).to.include(
      "302, a redirect to http://169.254.169.254/latest/meta-data/, which is not followed",
    );
    expect(receiver.received.all.length).to.equal(1);
  });

  it("refuses a private address once and for all, and calls nobody", async () => {
    const receiver = await receive((response) => response.end());
    const { counts } = await start({ BUSKER_CALLBACK_ALLOW: "10.0.0.0/8" });
    const dead = await letters();
    await publish(outcome(), url(receiver.url));
    const [letter] = await dead.reach(1);
    await counts.reach(1);
    expect(counts.all).to.deep.equal(["refused"]);
    expect(letter?.record.error?.code).to.equal("destination_refused");
    expect(receiver.received.all).to.deep.equal([]);
  });

  it("connects to the address that was checked, though the name leads elsewhere a moment later", async () => {
    const [right, wrong] = [await receive((response) => response.end()), await receive((response) => response.end())];
    let asked = 0;
    // The second answer would lead to nobody: whoever asks twice does not arrive.
    const resolve = async () => [{ address: (asked += 1) === 1 ? "127.0.0.1" : "127.0.0.9", family: 4 }];
    const { counts } = await start({}, { resolve });
    await publish(outcome(), url(`http://changing.test:${right.port}/`));
    await counts.reach(1);
    expect(counts.all).to.deep.equal(["told"]);
    expect(asked).to.equal(1);
    expect(right.received.all[0]?.headers.host).to.equal(`changing.test:${right.port}`);
    expect(wrong.received.all).to.deep.equal([]);
  });

  it("tells others at once while two hundred outcomes are for one that hangs", async () => {
    const hanging = await receive(() => {});
    const quick = await receive((response) => response.end());
    await start();
    for (let at = 0; at < 200; at += 1) await publish(outcome(), url(`${hanging.url}/${at}`));
    await hanging.received.reach(8);
    const begunMs = Date.now();
    for (let at = 0; at < 50; at += 1) await publish(outcome(), url(quick.url));
    await quick.received.reach(50);
    // The hanging ones are given 30 s each.
    expect(Date.now() - begunMs).to.be.below(8000);
    expect(hanging.received.all.length).to.equal(8);
  });

  it("gives one up that does not answer in time, and tells it again", async () => {
    const receiver = await receive((response, number) => (number > 1 ? response.end() : undefined));
    const { counts } = await start({ BUSKER_CALLBACK_TIMEOUT: "300ms" });
    await publish(outcome(), url(receiver.url));
    await counts.reach(2);
    expect(counts.all).to.deep.equal(["retried", "told"]);
  });

  it("makes a function's outcome a durable call of the next, once however often it is told", async () => {
    const { counts } = await start();
    const calls = await listen("busker.queue.>", decodeDurable);
    const whole = outcome();
    const target: OutcomeTarget = { kind: "function", function: { namespace: "images", name: "next" } };
    await publish(whole, target);
    await calls.reach(1);
    // As after a crash between the call and its acknowledgement.
    await putOutcome(acknowledged, "/test", { whole, target, tries: 0, dueMs: 0 }, "again");
    await counts.reach(2);
    await publish(whole, url("http://gateway:8080/function/then/a?b=c"));
    await calls.reach(2);
    const [next, then] = calls.all;
    expect(next?.function).to.deep.equal(target.function);
    expect(next).to.include({ parent: whole.record.id, priority: "high", contentType: "text/plain" });
    expect(next?.id).to.match(/^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(Buffer.from(next?.body ?? []).toString()).to.equal("done");
    expect(next?.head.headers).to.include.members(["X-Own", "X-Parent-Call-Id", whole.record.id, "X-Busker-Depth"]);
    expect(then?.function).to.deep.equal({ namespace: "openfaas-fn", name: "then" });
    expect(then?.head).to.include({ method: "POST", path: "/a?b=c" });
  });

  it("hands a large response on to the next function in the object store", async () => {
    await start();
    const calls = await listen("busker.queue.>", decodeDurable);
    const store = await openStore(bus, stores.payloads);
    await store.put("large-two", new Blob([Buffer.alloc(2_000_000, "x")]).stream());
    const body = { bytes: 2_000_000, place: "payload", name: "large-two" } as const;
    const whole = outcome({ response: { status: 200, headers: [], body } });
    await publish({ ...whole, response: Buffer.alloc(0) }, { kind: "function", function: fn });
    const [call] = await calls.reach(1);
    expect(call?.payload).to.include({ place: "payload", bytes: 2_000_000 });
    expect(await store.size(call?.payload?.name ?? "")).to.equal(2_000_000);
  });

  it("ends a chain at its thirty-second call, because a loop would run for ever", async () => {
    await start();
    const calls = await listen("busker.queue.>", decodeDurable);
    const dead = await letters();
    let whole = outcome();
    const target: OutcomeTarget = { kind: "function", function: fn };
    for (let depth = 1; depth <= 32; depth += 1) {
      await publish(whole, target);
      const call = (await calls.reach(depth)).at(-1);
      if (!call) throw new Error("no call");
      whole = outcome({ id: call.id, request: { head: call.head, body: { bytes: 0, place: "here" } } });
    }
    await publish(whole, target);
    const [letter] = await dead.reach(1);
    expect(letter?.record.error?.code).to.equal("chain_too_long");
    expect(calls.all.length).to.equal(32);
  });

  it("publishes an outcome as a CloudEvent on a subject of the deployer's", async () => {
    await start();
    const events = await listen("orders.>", (message) => ({
      subject: message.subject,
      header: (name: string) => message.headers?.get(name),
      text: message.string(),
    }));
    const whole = outcome({ parent: "before" });
    await publish(whole, { kind: "subject", subject: "orders.done" });
    const [event] = await events.reach(1);
    expect(event?.text).to.equal("done");
    expect(event?.subject).to.equal("orders.done");
    for (const [name, value] of [
      ["ce-type", "io.busker.call.succeeded"],
      ["ce-subject", whole.record.id],
      ["ce-function", "resize.openfaas-fn"],
      ["ce-status", "201"],
      ["ce-parent", "before"],
      ["ce-datacontenttype", "text/plain"],
    ] as const)
      expect(event?.header(name), name).to.equal(value);
    expect(event?.header("ce-id")).to.equal(event?.header("Nats-Msg-Id"));
  });

  it("publishes nothing on the platform's subjects, whatever a target says", async () => {
    await start();
    const dead = await letters();
    const deploys = await listen("busker.function.>", (message) => message.subject);
    await publish(outcome(), { kind: "subject", subject: "busker.function.deploy.openfaas-fn.fn" });
    const [letter] = await dead.reach(1);
    expect(letter?.record.error?.code).to.equal("destination_refused");
    expect(deploys.all).to.deep.equal([]);
  });

  it("hands what is under way to another when it stops, without waiting for who hangs", async () => {
    const receiver = await receive((response, number) => (number > 1 ? response.end() : undefined));
    const first = await start();
    await publish(outcome(), url(receiver.url));
    await receiver.received.reach(1);
    cleanUps.shift();
    await within(first.stop(), "stopped");
    const { counts } = await start();
    await counts.reach(1);
    expect(counts.all).to.deep.equal(["told"]);
  });

  it("tells again, under the same webhook-id, what a process that was killed was telling", async () => {
    const receiver = await receive((response, number) => (number > 1 ? response.end() : undefined));
    const script = fileURLToPath(new URL("fixtures/teller-process.ts", import.meta.url));
    const options = [script, nats.url, nats.credsFile("queue-worker"), nats.dataFolder];
    const worker = spawn(process.execPath, ["--import=tsx", ...options], { stdio: ["ignore", "pipe", "inherit"] });
    try {
      await publish(outcome(), url(receiver.url));
      await receiver.received.reach(1, 20_000);
    } finally {
      worker.kill("SIGKILL");
    }
    const { counts } = await start();
    // Its lease runs for 10 s.
    const got = await receiver.received.reach(2, 20_000);
    expect(new Set(got.map(({ headers }) => headers["webhook-id"])).size).to.equal(1);
    await counts.until((all) => all.includes("told"), "told");
  }).timeout(45_000);

  it("keeps what it has to tell over a restart of nats-server", async () => {
    const receiver = await receive((response) => response.end());
    const { counts } = await start();
    await nats.restart();
    await retryUntilReady(() => publish(outcome({ id: "over-a-restart" }), url(receiver.url)));
    await counts.reach(1);
    expect(counts.all).to.deep.equal(["told"]);
  });
});
