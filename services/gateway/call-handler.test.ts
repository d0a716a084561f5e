import { expect } from "chai";
import type { CallRecord, FinalState, RecordState } from "../../schemas/call.ts";
import { callEventType } from "../../schemas/events.ts";
import { callSubject, cancelAnyFilter } from "../../schemas/subjects.ts";
import { stores } from "../../schemas/topology.ts";
import { collect, within } from "../../test/support/collector.ts";
import { getResponse, readBody } from "../../test/support/http.ts";
import type { TestNats } from "../../test/support/nats.ts";
import { startTestStreams } from "../../test/support/streams.ts";
import { eventually } from "../../test/support/platform.ts";
import { openAcknowledged, type AcknowledgedPublisher } from "../bus/acknowledged.ts";
import { type CallRecords, openCallRecords } from "../bus/call-records.ts";
import { type Bus, openBus } from "../bus/connection.ts";
import { publishEvent, readEvent } from "../bus/events.ts";
import { openStore } from "../bus/objects.ts";
import { openTestGateway, type TestGateway } from "./fixtures/open-gateway.ts";

const echo = { namespace: "openfaas-fn", name: "echo" };

describe("createCallHandler()", function () {
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
    gateway = await openTestGateway(nats, ["echo"]);
  });

  after(async () => {
    await gateway?.stop();
    acknowledged?.close();
    await worker?.close();
    await nats?.stop();
  });

  const nextId = (): string => `call ${(numbers += 1)}/x`;
  const recordOf = (id: string, state: RecordState, more: Partial<CallRecord> = {}): CallRecord => ({
    id,
    function: echo,
    state,
    priority: "normal",
    queuedMs: 1000,
    attempts: [],
    ...more,
  });
  /** Writes a record as a queue-worker does; gives its number. */
  const write = (record: CallRecord, response = "", seq = 0): Promise<number> =>
    records.write({ record, request: Buffer.from("asked"), response: Buffer.from(response) }, seq);
  const tellEnd = (id: string, state: FinalState): string =>
    publishEvent(worker, {
      subject: callSubject(state, echo.namespace, echo.name),
      type: callEventType(state),
      id: `${id}.${state}`,
      data: { id, atMs: 2000, attempts: 1 },
    });
  const answered = (id: string, body: string, more: Partial<CallRecord> = {}): CallRecord =>
    recordOf(id, "succeeded", {
      endedMs: 2000,
      response: {
        status: 201,
        headers: ["Content-Type", "text/css", "X-Own", "1", "Content-Length", "99", "Connection", "close"],
        body: { bytes: Buffer.byteLength(body), place: "here" },
      },
      ...more,
    });
  const urlOf = (id: string, rest = ""): string => `${gateway.url}/async-function/${encodeURIComponent(id)}${rest}`;
  const get = (id: string, rest?: string): Promise<Response> => fetch(urlOf(id, rest));
  const cancel = (id: string): Promise<Response> => fetch(urlOf(id), { method: "DELETE" });

  describe("of a call's state", () => {
    it("shows it as JSON", async () => {
      const id = nextId();
      await write(answered(id, "hello"), "hello");
      const response = await get(id);
      expect(response.headers.get("content-type")).to.equal("application/json");
      const view = (await response.json()) as Record<string, unknown>;
      expect(view).to.include({ id, function: "echo.openfaas-fn", state: "succeeded" });
      expect(view["response"]).to.include({ status: 201, body: "hello" });
    });

    it("shows it with the request under /system/calls", async () => {
      const id = nextId();
      const request = {
        head: { method: "PUT", path: "/p", headers: ["A", "b"] },
        body: { bytes: 5, place: "here" as const },
      };
      await write(recordOf(id, "dead", { request }));
      const response = await fetch(`${gateway.url}/system/calls/${encodeURIComponent(id)}`);
      expect(((await response.json()) as { request: object }).request).to.include({ method: "PUT", body: "asked" });
      expect(await (await get(id)).json()).to.not.have.property("request");
    });

    it("shows one whose id came as an event's and is no header", async () => {
      const id = `€ ${nextId()}`;
      await write(answered(id, "hello"), "hello");
      const response = await get(id);
      expect(response.headers.get("x-call-id")).to.equal(encodeURIComponent(id));
      const { response: answer } = (await response.json()) as { response: { url: string } };
      expect(await (await fetch(`${gateway.url}${answer.url}`)).text()).to.equal("hello");
      expect((await get(`€ ${nextId()}`, "/response")).status).to.equal(404);
    });

    it("says that there is no function and no call of this name", async () => {
      const response = await get("nobody");
      expect(response.status).to.equal(404);
      expect(response.headers.get("x-busker-error")).to.equal("call_not_found");
      expect((await fetch(urlOf("nobody", "/x"))).headers.get("x-busker-error")).to.equal("function_not_found");
    });

    it("says so of one that has expired", async () => {
      const id = nextId();
      await write(answered(id, "", { expiresMs: Date.now() - 1 }));
      expect((await get(id)).status).to.equal(404);
    });
  });

  describe("of a wait", () => {
    it("answers when the call has ended, woken by its event", async () => {
      const id = nextId();
      const seq = await write(recordOf(id, "running"));
      const waiting = get(id, "?wait=1m");
      await eventually("it waits", () => (gateway.waiting() === 1 ? true : undefined));
      await write(answered(id, "done"), "done", seq);
      tellEnd(id, "succeeded");
      const response = await within(waiting, "the answer");
      expect(await response.json()).to.include({ state: "succeeded" });
      expect(gateway.waiting()).to.equal(0);
    });

    it("answers at once of a call that has ended", async () => {
      const id = nextId();
      await write(answered(id, ""));
      expect(await (await within(get(id, "?wait=1m"), "the answer")).json()).to.include({ state: "succeeded" });
    });

    it("answers with the state there is when the time is over", async () => {
      const id = nextId();
      await write(recordOf(id, "retrying", { nextMs: Date.now() + 60_000 }));
      expect(await (await within(get(id, "?wait=20ms"), "the answer")).json()).to.include({ state: "retrying" });
    });

    it("ends with its client, and costs nothing from then on", async () => {
      const id = nextId();
      await write(recordOf(id, "running"));
      const gone = new AbortController();
      const waiting = fetch(urlOf(id, "?wait=5m"), { signal: gone.signal }).catch(() => "gone");
      await eventually("it waits", () => (gateway.waiting() === 1 ? true : undefined));
      gone.abort();
      expect(await waiting).to.equal("gone");
      await eventually("nobody waits", () => (gateway.waiting() === 0 ? true : undefined));
    });

    it("is answered by a thousand at once with one event", async () => {
      const id = nextId();
      const seq = await write(recordOf(id, "running"));
      const waiting = Array.from({ length: 1000 }, () => get(id, "/response?wait=1m"));
      await eventually("all wait", () => (gateway.waiting() === 1000 ? true : undefined));
      await write(answered(id, "ok"), "ok", seq);
      tellEnd(id, "succeeded");
      const responses = await within(Promise.all(waiting), "the answers");
      expect(new Set(await Promise.all(responses.map((response) => response.text())))).to.deep.equal(new Set(["ok"]));
    });

    it("looks again when the server was away, as what was said then is lost", async () => {
      const id = nextId();
      const seq = await write(recordOf(id, "running"));
      const waiting = get(id, "?wait=1m");
      await eventually("it waits", () => (gateway.waiting() === 1 ? true : undefined));
      await nats.restart();
      await eventually("the record is written", () =>
        write(answered(id, ""), "", seq).then(
          () => true,
          () => undefined,
        ),
      );
      tellEnd(id, "succeeded");
      const response = await within(waiting, "the answer");
      expect(await response.json()).to.include({ state: "succeeded" });
    });

    for (const text of ["soon", "6m", "-1"])
      it(`refuses ?wait=${text}`, async () => {
        const id = nextId();
        await write(recordOf(id, "running"));
        expect((await get(id, `?wait=${text}`)).status).to.equal(400);
      });
  });

  describe("of a response", () => {
    it("gives the function's own: status, headers without those of one connection, body", async () => {
      const id = nextId();
      await write(answered(id, "hello"), "hello");
      const response = await get(id, "/response");
      expect(response.status).to.equal(201);
      const { headers } = response;
      expect([headers.get("content-type"), headers.get("x-own"), headers.get("content-length")]).to.deep.equal([
        "text/css",
        "1",
        "5",
      ]);
      expect([headers.get("x-call-id"), headers.get("x-busker-call-state")]).to.deep.equal([id, "succeeded"]);
      expect(await response.text()).to.equal("hello");
    });

    it("gives its head to HEAD", async () => {
      const id = nextId();
      await write(answered(id, "hello"), "hello");
      const response = await getResponse(urlOf(id, "/response"), { method: "HEAD" });
      expect([response.statusCode, response.headers["x-own"]]).to.deep.equal([201, "1"]);
      expect(await readBody(response)).to.have.length(0);
    });

    it("gives one that is in the store", async () => {
      const id = nextId();
      const content = "y".repeat(3_000_000);
      const store = await openStore(worker, stores.payloads);
      await store.put("kept", new Blob([content]).stream());
      const body = { bytes: content.length, place: "payload" as const, name: "kept" };
      await write(recordOf(id, "succeeded", { response: { status: 200, headers: [], body } }));
      const response = await get(id, "/response");
      expect(response.headers.get("content-length")).to.equal("3000000");
      expect(await response.text()).to.equal(content);
    });

    it("says that a body is not kept any more", async () => {
      const id = nextId();
      await write(
        recordOf(id, "succeeded", { response: { status: 200, headers: [], body: { bytes: 7, place: "none" } } }),
      );
      expect((await get(id, "/response")).status).to.equal(404);
    });

    it("says 202, the state and when to ask again while there is none", async () => {
      const id = nextId();
      await write(recordOf(id, "retrying", { nextMs: Date.now() + 20_000 }));
      const response = await get(id, "/response");
      expect(response.status).to.equal(202);
      expect(response.headers.get("x-busker-call-state")).to.equal("retrying");
      expect(Number(response.headers.get("retry-after"))).to.be.within(15, 20);
      expect(await response.json()).to.include({ id, state: "retrying" });
    });

    it("says how a call ended that has none", async () => {
      const id = nextId();
      await write(recordOf(id, "dead", { error: { code: "deadline_exceeded", message: "too slow" } }));
      const response = await get(id, "/response");
      expect(response.status).to.equal(504);
      expect(await response.text()).to.contain("too slow");
    });
  });

  describe("of a cancellation", () => {
    it("makes the call cancelled for good, and tells who runs it", async () => {
      const id = nextId();
      await write(recordOf(id, "running", { attempts: [{ number: 1, startedMs: 1500 }], nextMs: 7 }));
      const orders = collect<string>();
      const subscription = worker.nc.subscribe(cancelAnyFilter, {
        callback: (_, message) => orders.push(readEvent<"io.busker.cancel">(message).data.id),
      });
      await worker.nc.flush();
      const response = await cancel(id);
      expect([response.status, await response.text(), response.headers.get("x-call-id")]).to.deep.equal([202, "", id]);
      expect(await orders.reach(1)).to.deep.equal([id]);
      subscription.unsubscribe();
      const record = (await records.read(id))?.record;
      // Nor an expiry: it is kept at least until its call has left the queue.
      expect(record).to.include({ state: "cancelled" }).and.not.have.any.keys("nextMs", "expiresMs");
      expect(record?.error?.code).to.equal("cancelled");
      expect(record?.attempts[0]?.error?.code).to.equal("cancelled");
    });

    it("wakes who waits for the call", async () => {
      const id = nextId();
      await write(recordOf(id, "queued"));
      const waiting = get(id, "?wait=1m");
      await eventually("it waits", () => (gateway.waiting() === 1 ? true : undefined));
      await cancel(id);
      expect(await (await within(waiting, "the answer")).json()).to.include({ state: "cancelled" });
    });

    it("may be repeated", async () => {
      const id = nextId();
      await write(recordOf(id, "queued"));
      expect([(await cancel(id)).status, (await cancel(id)).status]).to.deep.equal([202, 202]);
    });

    it("says 404 of no call and 409 of one that has ended", async () => {
      const id = nextId();
      await write(answered(id, ""));
      expect([(await cancel("nobody")).status, (await cancel(id)).status]).to.deep.equal([404, 409]);
    });

    it("races the call's end: exactly one of them is the end", async () => {
      const ids = Array.from({ length: 100 }, nextId);
      const ends = await Promise.all(
        ids.map(async (id) => {
          const seq = await write(recordOf(id, "running"));
          const [won, response] = await Promise.all([
            write(answered(id, ""), "", seq).then(
              () => true,
              () => false,
            ),
            cancel(id),
          ]);
          const code = response.headers.get("x-busker-error");
          return { won, status: response.status, code, state: (await records.read(id))?.record.state };
        }),
      );
      for (const { won, status, code, state } of ends) {
        expect([status, code]).to.deep.equal(won ? [409, "call_over"] : [202, null]);
        expect(state).to.equal(won ? "succeeded" : "cancelled");
      }
    });

    it("is by id alone under /system/calls, where a function may have the same name", async () => {
      await write(recordOf("echo", "queued"));
      const response = await fetch(`${gateway.url}/system/calls/echo`, { method: "DELETE" });
      expect(response.status).to.equal(202);
      expect((await records.read("echo"))?.record.state).to.equal("cancelled");
    });
  });
});
