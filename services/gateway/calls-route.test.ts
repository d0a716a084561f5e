import { expect } from "chai";
import type { FinishedCall } from "../../schemas/events.ts";
import { collect } from "../../test/support/collector.ts";
import { getResponse } from "../../test/support/http.ts";
import { startTestNats, type TestNats } from "../../test/support/nats.ts";
import { type CallsWorld, openCallsWorld, recordOf } from "./fixtures/open-calls.ts";
import type { CallList } from "./list-calls.ts";
import type { CallStory } from "./call-story.ts";

interface SentEvent {
  readonly id: string | undefined;
  readonly event: string | undefined;
  readonly data: Record<string, unknown>;
}

const fieldOf = (block: string, name: string): string | undefined =>
  new RegExp(`^${name}: (.*)$`, "m").exec(block)?.[1];

describe("createCallsRoute()", function () {
  this.timeout(60_000);
  let nats: TestNats;
  let world: CallsWorld;
  let names = 0;
  const nextName = (): string => `fn${(names += 1)}`;

  before(async () => {
    nats = await startTestNats();
    world = await openCallsWorld(nats, ["fn", "other"]);
  });
  after(async () => {
    await world?.stop();
    await nats?.stop();
  });

  const list = async (query: string): Promise<CallList> => {
    const response = await world.api("GET", `/system/calls?${query}`);
    expect(response.status).to.equal(200);
    return (await response.json()) as CallList;
  };
  const finished = (id: string, status: number) => ({ id, status, startedMs: Date.now() - 5, durationMs: 5 });

  describe("GET /system/calls", () => {
    it("folds the events of durable calls to one line each, the one that changed last first", async () => {
      const name = nextName();
      await world.change("queued", name, { id: `${name}-a`, attempts: 0, parent: "p" });
      await world.change("queued", name, { id: `${name}-b`, attempts: 0 });
      await world.change("started", name, { id: `${name}-b`, waitedMs: 3 });
      await world.change("retrying", name, { id: `${name}-b`, status: 503, durationMs: 20, nextMs: Date.now() + 9000 });
      await world.change("started", name, { id: `${name}-a` });
      await world.change("succeeded", name, { id: `${name}-a`, status: 200, durationMs: 12 });
      const { calls, more } = await list(`function=${name}`);
      expect(more).to.equal(false);
      expect(calls.map(({ at: _at, nextAttemptAt: _next, ...call }) => call)).to.deep.equal([
        {
          id: `${name}-a`,
          function: `${name}.openfaas-fn`,
          kind: "durable",
          state: "succeeded",
          attempts: 1,
          status: 200,
          durationSeconds: 0.012,
          parent: "p",
        },
        {
          id: `${name}-b`,
          function: `${name}.openfaas-fn`,
          kind: "durable",
          state: "retrying",
          attempts: 1,
          status: 503,
          durationSeconds: 0.02,
        },
      ]);
    });

    it("takes a call as over whose queued event was stored last, because two processes write them", async () => {
      const name = nextName();
      await world.change("succeeded", name, { id: `${name}-a`, status: 200 });
      await world.change("queued", name, { id: `${name}-a`, attempts: 0 });
      expect((await list(`function=${name}`)).calls.map(({ state }) => state)).to.deep.equal(["succeeded"]);
    });

    it("lists synchronous calls beside durable ones, succeeded below 400 and failed above", async () => {
      const name = nextName();
      await world.finish(name, [finished("s1", 204), finished("s2", 404)]);
      await world.change("dead", name, { id: `${name}-d`, status: 500 });
      const brief = async (query: string): Promise<string[]> =>
        (await list(`function=${name}&${query}`)).calls.map(({ id, kind, state }) => `${id} ${kind} ${state}`);
      expect(await brief("")).to.have.members([`${name}-d durable dead`, "s1 sync succeeded", "s2 sync failed"]);
      expect(await brief("kind=sync")).to.have.members(["s1 sync succeeded", "s2 sync failed"]);
      expect(await brief("kind=durable")).to.deep.equal([`${name}-d durable dead`]);
      expect(await brief("state=failed")).to.deep.equal(["s2 sync failed"]);
      expect(await brief("state=dead")).to.deep.equal([`${name}-d durable dead`]);
    });

    it("passes over what a replica tells that is no call, because functions may write there", async () => {
      const name = nextName();
      const wrong: readonly unknown[] = [
        null,
        {},
        { id: 1, status: 200, startedMs: 1, durationMs: 1 },
        { id: "x", status: "200", startedMs: 1, durationMs: 1 },
        { id: "x", status: 200, startedMs: 1e300, durationMs: 1 },
      ];
      await world.finish(name, [...(wrong as FinishedCall[]), finished("right", 200)]);
      await world.finish(name, "none" as unknown as FinishedCall[]);
      expect((await list(`function=${name}`)).calls.map(({ id }) => id)).to.deep.equal(["right"]);
    });

    it("filters by state what a call is now and not what it was, without a function, too", async () => {
      const name = nextName();
      await world.change("started", name, { id: `${name}-over` });
      await world.change("cancelled", name, { id: `${name}-over` });
      await world.change("started", name, { id: `${name}-open` });
      const idsOf = async (query: string): Promise<string[]> =>
        (await list(query)).calls.map(({ id }) => id).filter((id) => id.startsWith(`${name}-`));
      expect(await idsOf("state=running")).to.deep.equal([`${name}-open`]);
      expect(await idsOf("state=cancelled&kind=durable")).to.deep.equal([`${name}-over`]);
    });

    it("gives as many as asked, and says that there are more and since when the list is whole", async () => {
      const name = nextName();
      for (const state of ["queued", "succeeded"] as const)
        for (let at = 0; at < 5; at += 1) await world.change(state, name, { id: `${name}-${at}` });
      const some = await list(`function=${name}&limit=2`);
      expect([some.calls.map(({ id }) => id), some.more]).to.deep.equal([[`${name}-4`, `${name}-3`], true]);
      expect(some.calls.map(({ state }) => state)).to.deep.equal(["succeeded", "succeeded"]);
      const all = await list(`function=${name}&limit=5`);
      expect([all.calls.length, all.more]).to.deep.equal([5, false]);
      expect(Date.parse(some.since)).to.be.greaterThan(Date.parse(all.since));
    });

    it("reads window by window until it has enough, and a few among many as well", async () => {
      const [busy, rare] = [nextName(), nextName()];
      await world.change("succeeded", rare, { id: `${rare}-1` });
      await Promise.all(
        Array.from({ length: 3000 }, (_, at) => world.change("succeeded", busy, { id: `${busy}-${at}` })),
      );
      expect((await list(`function=${rare}`)).calls.map(({ id }) => id)).to.deep.equal([`${rare}-1`]);
      const { calls, more } = await list(`function=${busy}&limit=1000`);
      expect([calls.length, new Set(calls.map(({ id }) => id)).size, more]).to.deep.equal([1000, 1000, true]);
      const everything = await list("kind=durable&limit=1000");
      expect(everything.calls.every(({ function: name }) => name === `${busy}.openfaas-fn`)).to.equal(true);
    });

    it("shows with until how things stood then", async () => {
      const name = nextName();
      await world.change("started", name, { id: `${name}-a` });
      const then = new Date(Date.now() + 2).toISOString();
      // The stream's own clock decides: the next event must be of a later millisecond.
      while (Date.now() <= Date.parse(then)) await world.change("queued", nextName(), { id: "x" });
      await world.change("succeeded", name, { id: `${name}-a` });
      const states = async (query: string): Promise<string[]> =>
        (await list(`function=${name}&${query}`)).calls.map(({ state }) => state);
      expect(await states(`until=${then}`)).to.deep.equal(["running"]);
      expect(await states(`since=${then}`)).to.deep.equal(["succeeded"]);
    });

    const refused = ["state=lost", "kind=any", "limit=0", "limit=1001", "since=yesterday", "function=Bad", "follow=1x"];
    for (const query of refused)
      it(`refuses ${query} with 400, naming it`, async () => {
        const response = await world.api("GET", `/system/calls?${query}`);
        expect(response.status).to.equal(400);
        expect(await response.text()).to.match(/must be/);
      });
  });

  describe("GET /system/calls as a stream of events", () => {
    const follow = async (query: string, lastEventId?: string) => {
      const headers = { accept: "text/event-stream", ...(lastEventId ? { "last-event-id": lastEventId } : {}) };
      const response = await getResponse(`${world.url}/system/calls?${query}`, { headers });
      const events = collect<SentEvent>();
      let text = "";
      response.on("error", () => undefined);
      response.on("data", (chunk: Buffer) => {
        const blocks = (text + chunk.toString()).split("\n\n");
        text = blocks.pop() ?? "";
        for (const block of blocks)
          if (!block.startsWith(":"))
            events.push({
              id: fieldOf(block, "id"),
              event: fieldOf(block, "event"),
              data: JSON.parse(fieldOf(block, "data") ?? "") as Record<string, unknown>,
            });
      });
      return { response, events, close: () => response.destroy() };
    };

    it("tells changes as they come, only those asked for, and goes on behind Last-Event-ID", async () => {
      const name = nextName();
      const first = await follow(`function=${name}&kind=durable`);
      expect(first.response.headers["content-type"]).to.match(/^text\/event-stream/);
      await first.events.reach(1);
      await world.change("queued", name, { id: `${name}-a`, attempts: 0 });
      await world.change("queued", nextName(), { id: "someone else's" });
      await world.change("started", name, { id: `${name}-a` });
      const [open, queued, started] = await first.events.reach(3);
      expect(open?.event).to.equal("open");
      expect([queued?.data["state"], started?.data["state"]]).to.deep.equal(["queued", "running"]);
      first.close();
      await world.change("succeeded", name, { id: `${name}-a`, status: 200 });
      const second = await follow(`function=${name}&kind=durable`, queued?.id);
      const told = await second.events.reach(3);
      expect(told.slice(1).map(({ data }) => data["state"])).to.deep.equal(["running", "succeeded"]);
      second.close();
    });

    it("tells synchronous calls, too, each batch with one position behind it", async () => {
      const name = nextName();
      const both = await follow(`function=${name}&follow=true`);
      await both.events.reach(1);
      await world.finish(name, [finished("s1", 200), finished("s2", 500)]);
      const [, one, two] = await both.events.reach(3);
      expect([one?.id, one?.data["id"], two?.data["state"]]).to.deep.equal([undefined, "s1", "failed"]);
      expect(two?.id).to.match(/^\d+-\d+$/);
      both.close();
      const failed = await follow(
        "state=failed",
        (two?.id ?? "").replace(/-(\d+)$/, (_, n) => `-${Number(n) - 1}`),
      );
      const [, again] = await failed.events.reach(2);
      expect(again?.data["id"]).to.equal("s2");
      failed.close();
    });

    it("refuses a Last-Event-ID of another stream, because it would begin anywhere", async () => {
      const headers = { accept: "text/event-stream", "last-event-id": "abc" };
      const response = await getResponse(`${world.url}/system/calls`, { headers });
      expect(response.statusCode).to.equal(400);
      response.destroy();
    });
  });

  describe("GET /system/calls/ID/story", () => {
    const storyOf = async (id: string): Promise<CallStory> => {
      const response = await world.api("GET", `/system/calls/${encodeURIComponent(id)}/story`);
      expect(response.status).to.equal(200);
      return (await response.json()) as CallStory;
    };

    it("tells a durable call's states with attempts, its lines and what came of it", async () => {
      const id = "story 1/ä";
      await world.record(recordOf("fn", id));
      await world.log("fn", { callId: "another", text: "not this" });
      await world.log("fn", { callId: "another", text: "nor this" }, { callId: id, text: "hello" });
      await world.change("queued", "other", { id: "child", parent: id });
      await world.change("queued", "other", { id: "no child", parent: "another" });
      await world.change("queued", "other", { id: "its replay", replayOf: id });
      const { call, history, logs, children, complete } = await storyOf(id);
      expect(history.map(({ state, attempt, status }) => [state, attempt, status])).to.deep.equal([
        ["queued", undefined, undefined],
        ["running", 1, undefined],
        ["retrying", 1, 503],
        ["running", 2, undefined],
        ["dead", 2, 500],
      ]);
      expect(call).to.deep.include({ id, state: "dead", kind: "durable" });
      expect(logs.map(({ text, instance }) => [text, instance])).to.deep.equal([["hello", "fn-1"]]);
      expect(children.map((child) => [child.id, child.function])).to.deep.equal([["child", "other.openfaas-fn"]]);
      expect(complete).to.equal(true);
    });

    it("tells of a synchronous call when it ran and how it ended, and the functions its id came to", async () => {
      await world.finish("fn", [finished("sync-1", 502)]);
      await world.finish("other", [finished("sync-1", 200)]);
      const { call, children, history } = await storyOf("sync-1");
      expect(call).to.deep.include({ id: "sync-1", kind: "sync", function: "other.openfaas-fn" });
      expect(history.map(({ state }) => state)).to.deep.equal(["running", "succeeded"]);
      expect(children.map((child) => child.function)).to.deep.equal(["fn.openfaas-fn"]);
    });

    it("tells of a recorded synchronous call with its bodies, and calls it failed and not dead", async () => {
      await world.record(recordOf("fn", "recorded-1", { isSynchronous: true }));
      const { call, history } = await storyOf("recorded-1");
      expect(call).to.deep.include({ state: "failed", kind: "sync" });
      expect((call as { request: object }).request).to.deep.include({ method: "PUT", path: "/a?b=c", body: "in" });
      expect(history.at(-1)).to.deep.include({ state: "failed", attempt: 2, status: 500 });
    });

    it("takes a recorded call for its own function's, and nothing of it for another call's", async () => {
      const place = { bytes: 9, place: "payload", name: "another call's" } as const;
      const head = { method: "POST", path: "/", headers: [] };
      const { record } = recordOf("fn", "forged-1", { isSynchronous: true, callbackUrl: "http://a.example/" });
      const forged = {
        ...record,
        function: { namespace: "openfaas-fn", name: "other" },
        request: { head, body: place },
      };
      await world.recordAs("fn", "forged-1", forged);
      await world.recordAs("fn", "forged-2", { ...forged, id: "forged-1" });
      const { call } = await storyOf("forged-1");
      expect(call).to.include({ function: "fn.openfaas-fn", kind: "sync" }).and.not.have.property("callbackUrl");
      const refused = await world.api("POST", "/system/calls/forged-1/replay");
      expect([refused.status, (await refused.text()).includes("were too many to be recorded")]).to.deep.equal([
        404,
        true,
      ]);
      expect((await world.api("GET", "/system/calls/forged-2/story")).status).to.equal(404);
    });

    it("says that nothing is known of an id", async () => {
      const response = await world.api("GET", "/system/calls/nothing/story");
      expect([response.status, (await response.text()).includes("nothing is known of call nothing")]).to.deep.equal([
        404,
        true,
      ]);
    });
  });

  describe("POST /system/calls/ID/replay", () => {
    const replay = async (id: string, body?: object): Promise<{ status: number; text: string }> => {
      const response = await world.api("POST", `/system/calls/${id}/replay`, body);
      return { status: response.status, text: await response.text() };
    };

    it("makes a new call of the same request, for another function where that is said", async () => {
      await world.record(recordOf("fn", "again-1", { state: "succeeded", callbackUrl: "http://a.example/" }));
      const { status, text } = await replay("again-1", { to: "other" });
      const { id, replayOf } = JSON.parse(text) as { id: string; replayOf: string };
      expect([status, replayOf]).to.deep.equal([202, "again-1"]);
      const call = await world.queued("other");
      expect(call).to.deep.include({ id, replayOf: "again-1", contentType: "text/x", priority: "normal" });
      expect(call?.head).to.deep.equal({
        method: "PUT",
        path: "/a?b=c",
        headers: ["X-Call-Id", id, "Content-Type", "text/x"],
      });
      expect(call?.body.toString()).to.equal("in");
      expect(call).to.not.have.property("callbackUrl");
      const record = await world.records.read(id);
      expect(record?.record).to.deep.include({ state: "queued", replayOf: "again-1" });
    });

    it("runs a recorded synchronous call again", async () => {
      await world.record(recordOf("fn", "recorded-2", { isSynchronous: true }));
      expect((await replay("recorded-2")).status).to.equal(202);
      expect((await world.queued("fn"))?.replayOf).to.equal("recorded-2");
    });

    it("names the annotation for a synchronous call that was not recorded", async () => {
      await world.finish("fn", [finished("sync-2", 200)]);
      const { status, text } = await replay("sync-2");
      expect([status, text.includes("com.busker.record: bodies")]).to.deep.equal([404, true]);
    });

    it("says why a call cannot be run again: it is not over, its body is gone, the function is", async () => {
      const gone = { bytes: 7, place: "none" } as const;
      const request = { head: { method: "GET", path: "/", headers: [] }, body: gone };
      await world.record(recordOf("fn", "open-1", { state: "running" }));
      await world.record(recordOf("fn", "empty-1", { request }));
      await world.record(recordOf("removed", "removed-1"));
      const answers = [
        await replay("open-1"),
        await replay("empty-1"),
        await replay("removed-1"),
        await replay("no-1"),
      ];
      expect(answers.map(({ status }) => status)).to.deep.equal([409, 404, 404, 404]);
      expect(answers.map(({ text }) => /is running|the 7 bytes|no function removed|nothing is known/.test(text)))
        .to.not //
        .include(false);
      expect((await replay("again-1", { to: "nobody" })).text).to.contain("there is no function nobody.openfaas-fn");
    });
  });
});
