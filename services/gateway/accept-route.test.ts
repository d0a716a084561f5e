import { randomBytes } from "node:crypto";
import { expect } from "chai";
import { callAnyFilter, queueAnyFilter } from "../../schemas/subjects.ts";
import { stores, streams } from "../../schemas/topology.ts";
import { collect } from "../../test/support/collector.ts";
import { digest, openRequest, responseTo } from "../../test/support/http.ts";
import { startTestNats, type TestNats } from "../../test/support/nats.ts";
import { countMessages, limitStream, takeQueued as takeQueuedOf } from "../../test/support/queue.ts";
import { eventually } from "../../test/support/platform.ts";
import { type Bus, openBus } from "../bus/connection.ts";
import type { DurableCall } from "../bus/durable-call.ts";
import { type ReceivedEvent, readEvent } from "../bus/events.ts";
import { type ObjectStore, openStore } from "../bus/objects.ts";
import { ensureTopology } from "../bus/topology.ts";
import { openTestGateway, type TestGateway } from "./fixtures/open-gateway.ts";

const queue = streams.INVOCATIONS.name;
const mebibyte = 1024 * 1024;

describe("createAcceptRoute()", function () {
  this.timeout(60_000);
  let nats: TestNats;
  let admin: Bus;
  let payloads: ObjectStore;
  const gateways: TestGateway[] = [];

  before(async () => {
    nats = await startTestNats();
    admin = await openBus({ url: nats.url, credentialsFile: nats.credsFile("admin"), user: "admin", name: "admin" });
    await ensureTopology(admin);
    payloads = await openStore(admin, stores.payloads);
    for (let count = 0; count < 2; count += 1)
      gateways.push(await openTestGateway(nats, ["echo", "other"], 4 * mebibyte));
  });

  after(async () => {
    for (const gateway of gateways) await gateway.stop();
    await admin?.close();
    await nats?.stop();
  });

  const gateway = (at = 0): TestGateway => gateways[at] as TestGateway;

  const send = (path: string, init: RequestInit = {}, at = 0): Promise<Response> =>
    fetch(`${gateway(at).url}/async-function/${path}`, { method: "POST", ...init });

  const takeQueued = (): Promise<DurableCall[]> => takeQueuedOf(admin);
  const takeOne = async (): Promise<DurableCall> => {
    const calls = await takeQueued();
    expect(calls).to.have.length(1);
    return calls[0] as DurableCall;
  };
  const idOf = (response: Response): string => response.headers.get("x-call-id") ?? "";

  beforeEach(takeQueued);

  it("answers 202 with nothing but headers when the call is queued as it was sent", async () => {
    const response = await send("echo/a%2Fb?x=1", { method: "PATCH", headers: { "X-Own": "1" }, body: "hello" });
    expect(response.status).to.equal(202);
    expect(await response.text()).to.equal("");
    expect(response.headers.get("x-start-time")).to.match(/^\d{19}$/);
    expect(response.headers.get("x-served-by")).to.match(/^busker\//);
    const call = await takeOne();
    expect(call).to.deep.include({
      id: idOf(response),
      function: { namespace: "openfaas-fn", name: "echo" },
      priority: "normal",
      contentType: "text/plain;charset=UTF-8",
    });
    expect(call.head).to.include({ method: "PATCH", path: "/a%2Fb?x=1" });
    expect(call.head.headers).to.include.members(["X-Own", "1", "X-Call-Id", call.id]);
    expect(Buffer.from(call.body).toString()).to.equal("hello");
    expect((await gateway().records.read(call.id))?.record).to.deep.include({ state: "queued", attempts: [] });
  });

  it("tells that a call is queued", async () => {
    const events = collect<ReceivedEvent<"io.busker.call.queued">>();
    const subscription = admin.nc.subscribe(callAnyFilter, {
      callback: (_, message) => events.push(readEvent(message)),
    });
    await admin.nc.flush();
    const id = idOf(await send("echo"));
    const [event] = await events.reach(1);
    subscription.unsubscribe();
    expect(event?.subject).to.equal("busker.call.queued.openfaas-fn.echo");
    expect(event?.data).to.include({ id, attempts: 0 });
  });

  for (const method of ["GET", "PUT", "DELETE", "HEAD", "OPTIONS"])
    it(`accepts ${method}: a function's name is an invocation whatever the verb`, async () => {
      expect((await send("echo", { method })).status).to.equal(202);
      expect((await takeOne()).head.method).to.equal(method);
    });

  it("refuses a function that is not there, which OpenFaaS's free edition accepts", async () => {
    const response = await send("nobody", { body: "x" });
    expect(response.status).to.equal(404);
    expect(response.headers.get("x-busker-error")).to.equal("function_not_found");
    expect(await takeQueued()).to.deep.equal([]);
  });

  const faults: readonly (readonly [string, string])[] = [
    ["X-Callback-Url", "ftp://a/b"],
    ["X-Callback-Url", "nowhere"],
    ["X-Delay", "soon"],
    ["X-Run-At", "tomorrow"],
    ["X-Priority", "urgent"],
    ["X-Call-Id", "x".repeat(129)],
    ["Idempotency-Key", "x".repeat(1025)],
  ];
  for (const [name, value] of faults)
    it(`refuses ${name}: ${value.slice(0, 20)}, and says which header it is`, async () => {
      const response = await send("echo", { headers: { [name]: value } });
      expect(response.status).to.equal(400);
      expect(await response.text()).to.contain(name);
      expect(await takeQueued()).to.deep.equal([]);
    });

  it("keeps what the headers ask for: priority, time, callback", async () => {
    const before = Date.now();
    await send("echo", {
      headers: { "X-Priority": "high", "X-Delay": "1m", "X-Callback-Url": "http://a.example/b?c" },
    });
    const call = await takeOne();
    expect(call).to.include({ priority: "high", callbackUrl: "http://a.example/b?c" });
    expect(call.runAtMs).to.be.within(before + 60_000, Date.now() + 60_000);
    expect((await gateway().records.read(call.id))?.record).to.include({ runAtMs: call.runAtMs, priority: "high" });
  });

  describe("of a call that is given twice", () => {
    it("runs it once and answers with the same id, by X-Call-Id", async () => {
      const headers = { "X-Call-Id": `Order 7/${Math.random()}` };
      const responses = [await send("echo", { headers, body: "a" }), await send("echo", { headers, body: "a" }, 1)];
      expect(responses.map(({ status }) => status)).to.deep.equal([202, 202]);
      expect(responses.map(idOf)).to.deep.equal([headers["X-Call-Id"], headers["X-Call-Id"]]);
      expect((await takeOne()).id).to.equal(headers["X-Call-Id"]);
    });

    it("runs it once and answers with the same id, by Idempotency-Key, which is of one function", async () => {
      const headers = { "Idempotency-Key": "invoice 17" };
      const ids = [
        idOf(await send("echo", { headers })),
        idOf(await send("echo", { headers }, 1)),
        idOf(await send("other", { headers })),
      ];
      expect(ids[0]).to.match(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
      expect(ids[1]).to.equal(ids[0]);
      expect(ids[2]).to.not.equal(ids[0]);
      const calls = await takeQueued();
      expect(calls.map(({ id }) => id)).to.deep.equal([ids[0], ids[2]]);
      expect(calls[0]?.head.headers).to.include(ids[0]);
    });

    it("runs each once when two gateways get them at the same time", async () => {
      const round = Math.random();
      const sent = Array.from({ length: 100 }, (_, at) =>
        Promise.all([0, 1].map((which) => send("echo", { headers: { "X-Call-Id": `${round}-${at}` } }, which))),
      );
      for (const [first, second] of await Promise.all(sent)) {
        expect([first?.status, second?.status]).to.deep.equal([202, 202]);
        expect(idOf(first as Response)).to.equal(idOf(second as Response));
      }
      expect((await takeQueued()).map(({ id }) => id).toSorted()).to.deep.equal(
        Array.from({ length: 100 }, (_, at) => `${round}-${at}`).toSorted(),
      );
    });

    it("keeps no second body", async () => {
      const headers = { "Idempotency-Key": "large" };
      const body = randomBytes(2 * mebibyte);
      await Promise.all([0, 1].map((at) => send("echo", { headers, body }, at)));
      const call = await takeOne();
      expect(await payloads.list()).to.deep.equal([call.payload?.name]);
      await payloads.remove(call.payload?.name ?? "");
    });
  });

  describe("of an id that travels along a chain of functions", () => {
    it("gives the next function's call an id of its own, always the same one", async () => {
      const id = `chain-${Math.random()}`;
      const headers = { "X-Call-Id": id };
      expect(idOf(await send("echo", { headers }))).to.equal(id);
      const next = idOf(await send("other", { headers }));
      expect(next).to.not.equal(id);
      expect(idOf(await send("other", { headers }, 1))).to.equal(next);
      const calls = await takeQueued();
      expect(calls.map((call) => [call.function.name, call.id, call.parent])).to.deep.equal([
        ["echo", id, undefined],
        ["other", next, id],
      ]);
      expect(calls[1]?.head.headers).to.include(next).and.not.include(id);
    });

    it("does so when both are called at the same time: no call is taken for the other", async () => {
      const rounds = Array.from({ length: 50 }, (_, at) => `both-${at}-${Math.random()}`);
      const answers = await Promise.all(
        rounds.map(async (id) => {
          const both = await Promise.all(
            ["echo", "other"].map((name, at) => send(name, { headers: { "X-Call-Id": id } }, at)),
          );
          return both.map(idOf);
        }),
      );
      for (const [first, second] of answers) expect(first).to.not.equal(second);
      for (const [at, name] of ["echo", "other"].entries())
        for (const ids of answers)
          expect((await gateway().records.read(ids[at] ?? ""))?.record.function.name).to.equal(name);
    });
  });

  describe("of a body", () => {
    const chunked = (body: Buffer): RequestInit => ({
      body: new ReadableStream({
        pull: (controller) => {
          controller.enqueue(body);
          controller.close();
        },
      }),
      duplex: "half",
    });

    it("keeps 1 MiB in the message", async () => {
      const body = randomBytes(mebibyte);
      expect((await send("echo", { body })).status).to.equal(202);
      const call = await takeOne();
      expect(call.payload).to.equal(undefined);
      expect(digest(call.body)).to.equal(digest(body));
    });

    for (const [how, initOf] of [
      ["of known length", (body: Buffer): RequestInit => ({ body })],
      ["of unknown length", chunked],
    ] as const)
      it(`keeps a larger one ${how} in the store, under the call's name`, async () => {
        const body = randomBytes(3 * mebibyte + 17);
        const response = await send("echo", initOf(body));
        expect(response.status, await response.text()).to.equal(202);
        const call = await takeOne();
        expect(call.body).to.have.length(0);
        expect(call.payload).to.include({ place: "payload", bytes: body.length });
        const name = call.payload?.name ?? "";
        expect(name.startsWith(`${call.id}.`)).to.equal(true);
        const stored = Buffer.from(await new Response(await payloads.get(name)).arrayBuffer());
        expect(digest(stored)).to.equal(digest(body));
        await payloads.remove(name);
      });

    const chunksLeft = (): Promise<number> => countMessages(admin, "OBJ_payloads", "$O.payloads.C.*");

    it("refuses one above the limit at once where its length is known", async () => {
      const request = openRequest(`${gateway().url}/async-function/echo`, {
        headers: { "Content-Length": 4 * mebibyte + 1 },
      });
      request.flushHeaders();
      expect((await responseTo(request)).statusCode).to.equal(413);
      request.destroy();
      expect(await takeQueued()).to.deep.equal([]);
    });

    it("refuses one above the limit when it has come so far, and keeps nothing of it", async () => {
      const before = await chunksLeft();
      const response = await send("echo", chunked(randomBytes(4 * mebibyte + 1)));
      expect(response.status).to.equal(413);
      expect(response.headers.get("x-busker-error")).to.equal("body_too_large");
      expect(await takeQueued()).to.deep.equal([]);
      expect([await payloads.list(), await chunksLeft()]).to.deep.equal([[], before]);
    });

    it("keeps nothing when the client breaks off, neither call nor body", async () => {
      const before = await chunksLeft();
      const request = openRequest(`${gateway().url}/async-function/echo`);
      request.write(randomBytes(3 * mebibyte));
      await eventually("a part is stored", async () => ((await chunksLeft()) > before ? true : undefined));
      request.destroy();
      await eventually("it is gone", async () => ((await chunksLeft()) === before ? true : undefined));
      expect([await takeQueued(), await payloads.list()]).to.deep.equal([[], []]);
    });

    it("asks a client that waits to be asked, and does not ask for one that is too large", async () => {
      const ask = async (bytes: number): Promise<string> => {
        const request = openRequest(`${gateway().url}/async-function/echo`, {
          headers: { "Content-Length": bytes, Expect: "100-continue" },
        });
        request.flushHeaders();
        const first = await new Promise<string>((resolve) => {
          request.once("continue", () => resolve("asked"));
          request.once("response", ({ statusCode }) => resolve(String(statusCode)));
        });
        request.destroy();
        return first;
      };
      expect([await ask(10), await ask(5 * mebibyte)]).to.deep.equal(["asked", "413"]);
    });
  });

  describe("of a queue that is full", () => {
    it("answers 503 with Retry-After, keeps what it has, and goes on when there is room", async () => {
      await limitStream(admin, queue, 64 * 1024);
      const statuses: number[] = [];
      try {
        for (let at = 0; at < 10; at += 1) {
          const response = await send("echo", { body: randomBytes(10_000) });
          statuses.push(response.status);
          if (response.status === 202) continue;
          expect(response.headers.get("x-busker-error")).to.equal("queue_full");
          expect(response.headers.get("retry-after")).to.equal("1");
        }
      } finally {
        await limitStream(admin, queue, streams.INVOCATIONS.maxBytes);
      }
      const accepted = statuses.filter((status) => status === 202).length;
      expect(accepted).to.be.within(3, 6);
      expect(statuses).to.deep.equal(statuses.toSorted());
      expect((await send("echo")).status).to.equal(202);
      expect(await takeQueued()).to.have.length(accepted + 1);
    });

    it("says the same of a store of bodies that is full", async () => {
      await limitStream(admin, "OBJ_payloads", mebibyte);
      try {
        const response = await send("echo", { body: randomBytes(2 * mebibyte) });
        expect([response.status, response.headers.get("x-busker-error")]).to.deep.equal([503, "queue_full"]);
      } finally {
        await limitStream(admin, "OBJ_payloads", -1);
      }
      expect([await takeQueued(), await countMessages(admin, "OBJ_payloads", "$O.payloads.C.*")]).to.deep.equal([
        [],
        0,
      ]);
    });

    it("keeps no body of a call that it refuses", async () => {
      await limitStream(admin, queue, 1);
      try {
        expect((await send("echo", { body: randomBytes(2 * mebibyte) })).status).to.equal(503);
      } finally {
        await limitStream(admin, queue, streams.INVOCATIONS.maxBytes);
      }
      expect(await payloads.list()).to.deep.equal([]);
    });
  });

  it("answers 503 when the server is away, and what it had accepted is there when it was killed", async () => {
    const ids: string[] = [];
    for (let at = 0; at < 20; at += 1) ids.push(idOf(await send("echo", { body: `${at}` })));
    await nats.kill();
    const response = await send("echo");
    expect(response.status).to.equal(503);
    expect(response.headers.get("retry-after")).to.equal("1");
    await nats.restart();
    await eventually("calls are accepted again", async () => ((await send("other")).status === 202 ? true : undefined));
    await eventually("this test is connected, too", () => (admin.isConnected() ? true : undefined));
    const calls = await takeQueued();
    expect(calls.filter(({ function: { name } }) => name === "echo").map(({ id }) => id)).to.deep.equal(ids);
  });

  it(`publishes nowhere but below ${queueAnyFilter}: the door is for others`, async () => {
    await send("echo");
    expect(await countMessages(admin, streams.DOOR.name)).to.equal(0);
  });
});
