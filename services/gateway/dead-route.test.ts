import { expect } from "chai";
import type { CallRecord } from "../../schemas/call.ts";
import { streams } from "../../schemas/topology.ts";
import { outcomeSubject } from "../../schemas/subjects.ts";
import { startTestNats, type TestNats } from "../../test/support/nats.ts";
import { readLast, readLastSeq } from "../bus/last-message.ts";
import { type CallsWorld, openCallsWorld, recordOf } from "./fixtures/open-calls.ts";

interface Listed {
  readonly letters: readonly Record<string, unknown>[];
  readonly more: boolean;
}

describe("createDeadRoute()", function () {
  this.timeout(60_000);
  let nats: TestNats;
  let world: CallsWorld;

  before(async () => {
    nats = await startTestNats();
    world = await openCallsWorld(nats, ["fn", "other", "many"]);
  });
  after(async () => {
    await world?.stop();
    await nats?.stop();
  });

  const list = async (query: string): Promise<Listed> =>
    (await (await world.api("GET", `/system/dead?${query}`)).json()) as Listed;
  const idsOf = async (query: string): Promise<unknown[]> => (await list(query)).letters.map(({ id }) => id);
  const bury = (name: string, id: string, more: Partial<CallRecord> = {}): Promise<void> =>
    world.bury(recordOf(name, id, more));
  const json = async (response: Response): Promise<Record<string, unknown>> =>
    (await response.json()) as Record<string, unknown>;

  it("lists letters, the newest first, by what their headers say", async () => {
    await bury("lister", "a/ä");
    await bury("lister", "b", { error: { code: "replica_lost", message: `why\r\n${"x".repeat(500)}` } });
    const { letters, more } = await list("function=lister");
    expect([letters.map(({ id }) => id), more]).to.deep.equal([["b", "a/ä"], false]);
    expect(letters[1]).to.deep.include({
      function: "lister.openfaas-fn",
      attempts: 2,
      status: 500,
      error: { code: "function_failed", message: "lister answered 500" },
    });
    expect(letters[0]?.["error"]).to.deep.equal({ code: "replica_lost", message: `why\r\n${"x".repeat(195)}` });
    expect((await list("function=lister&limit=1")).more).to.equal(true);
  });

  it("reads no body for a list: as many letters of a megabyte as fit a stream are listed", async () => {
    const large = { ...recordOf("large", "x").record, request: undefined } as unknown as CallRecord;
    const body = Buffer.alloc(1024 * 1024, 1);
    for (let at = 0; at < 20; at += 1)
      await world.bury({ record: { ...large, id: `l${at}` }, request: body, response: body });
    const before = process.memoryUsage().arrayBuffers;
    expect((await list("function=large")).letters).to.have.length(20);
    expect(process.memoryUsage().arrayBuffers - before).to.be.below(20 * body.length);
  });

  it("shows a letter whole: request, attempts, last response", async () => {
    await bury("fn", "shown");
    const letter = await json(await world.api("GET", "/system/dead/shown"));
    expect(letter).to.deep.include({ id: "shown", state: "dead" });
    expect(letter["request"]).to.deep.include({ method: "PUT", path: "/a?b=c", body: "in" });
    expect(letter["response"]).to.deep.include({ status: 500, body: "out" });
    expect(letter["attempts"]).to.have.length(2);
    expect((await world.api("GET", "/system/dead/nobody")).status).to.equal(404);
  });

  it("replays a letter as a new call, with its callback, and takes it out when that is accepted", async () => {
    await bury("fn", "again", { callbackUrl: "http://a.example/" });
    const response = await world.api("POST", "/system/dead/again/replay");
    const { id, replayOf } = await json(response);
    expect([response.status, replayOf, response.headers.get("x-call-id")]).to.deep.equal([202, "again", id]);
    expect(await world.queued("fn")).to.deep.include({ id, replayOf: "again", callbackUrl: "http://a.example/" });
    expect((await world.api("GET", "/system/dead/again")).status).to.equal(404);
  });

  it("makes one call of one letter, however often it is replayed at the same time", async () => {
    await bury("other", "once");
    const answers = await Promise.all(Array.from({ length: 5 }, () => world.api("POST", "/system/dead/once/replay")));
    // Who comes when the letter has gone is told that there is none.
    expect(answers.every(({ status }) => status === 202 || status === 404)).to.equal(true);
    const accepted = await Promise.all(answers.filter(({ ok }) => ok).map(json));
    expect(accepted.length).to.be.at.least(2);
    expect(new Set(accepted.map(({ id }) => id)).size).to.equal(1);
  });

  it("keeps the letter where that is wished, and makes a new call each time", async () => {
    await bury("fn", "kept");
    const replay = async () => json(await world.api("POST", "/system/dead/kept/replay", { keep: true, to: "other" }));
    const ids = [(await replay())["id"], (await replay())["id"]];
    expect(new Set(ids).size).to.equal(2);
    expect((await world.queued("other"))?.id).to.equal(ids[1]);
    expect((await world.api("GET", "/system/dead/kept")).status).to.equal(200);
  });

  it("names a payload that letter and replay share, and keeps the letter of a function that is gone", async () => {
    const body = { bytes: 5_000_000, place: "payload", name: "object-1" } as const;
    await bury("fn", "large-1", { request: { head: { method: "POST", path: "/", headers: [] }, body } });
    await world.api("POST", "/system/dead/large-1/replay");
    expect((await world.queued("fn"))?.payload).to.deep.equal(body);
    await bury("fn", "large-2", {
      request: { head: { method: "POST", path: "/", headers: [] }, body: { ...body, name: "gone" } },
    });
    const gone = await world.api("POST", "/system/dead/large-2/replay");
    expect([gone.status, (await gone.text()).includes("the 5000000 bytes of its request body are gone")]).to.deep.equal(
      [404, true],
    );
    await bury("gone", "orphan");
    const refused = await world.api("POST", "/system/dead/orphan/replay");
    expect([refused.status, await refused.text()]).to.deep.equal([404, "there is no function gone.openfaas-fn\n"]);
    expect(await idsOf("function=gone")).to.deep.equal(["orphan"]);
  });

  it("replays a function's letters, or those of a list, and says which could not be", async () => {
    for (let at = 0; at < 20; at += 1) await bury("many", `m${at}`);
    const some = await json(await world.api("POST", "/system/dead/replay", { ids: ["m3", "nobody"] }));
    expect((some["replayed"] as { replayOf: string }[]).map(({ replayOf }) => replayOf)).to.deep.equal(["m3"]);
    expect(some["failed"]).to.deep.equal([
      { id: "nobody", code: "call_not_found", message: "there is no dead letter of call nobody" },
    ]);
    const rest = await json(await world.api("POST", "/system/dead/replay", { function: "many", to: "other" }));
    expect([(rest["replayed"] as unknown[]).length, rest["failed"], rest["more"]]).to.deep.equal([19, [], false]);
    expect(await idsOf("function=many")).to.deep.equal([]);
  });

  it("has an outcome told again that could not be told, which makes no call", async () => {
    const target = { kind: "url", url: "http://a.example/" } as const;
    const untold = { target, call: { id: "told", state: "succeeded" } } as const;
    await bury("fn", "told.callback", { parent: "told", untold });
    const calls = await readLastSeq(world.bus, streams.INVOCATIONS);
    const response = await world.api("POST", "/system/dead/told.callback/replay");
    expect(await json(response)).to.deep.equal({ replayOf: "told.callback" });
    expect((await readLast(world.admin, streams.OUTCOMES, outcomeSubject("openfaas-fn", "fn")))?.seq).to.be.a("number");
    expect(await readLastSeq(world.bus, streams.INVOCATIONS)).to.equal(calls);
    expect((await world.api("GET", "/system/dead/told.callback")).status).to.equal(404);
  });

  it("throws letters away, one or a function's", async () => {
    for (const id of ["p1", "p2", "p3"]) await bury("thrown", id);
    expect((await world.api("DELETE", "/system/dead/p2")).status).to.equal(204);
    expect(await idsOf("function=thrown")).to.deep.equal(["p3", "p1"]);
    expect((await world.api("DELETE", "/system/dead/p2")).status).to.equal(404);
    expect((await world.api("DELETE", "/system/dead")).status).to.equal(400);
    expect(await json(await world.api("DELETE", "/system/dead?function=thrown"))).to.deep.equal({ purged: 2 });
    expect(await idsOf("function=thrown")).to.deep.equal([]);
  });

  const refused: readonly (readonly [string, unknown])[] = [
    ["neither ids nor function", {}],
    ["ids that are no list", { ids: "a" }],
    ["a keep that is no flag", { ids: [], keep: "yes" }],
    ["a to that is no function", { ids: [], to: "Bad!" }],
    ["a body that is no object", []],
  ];
  for (const [what, body] of refused)
    it(`refuses ${what} with 400`, async () => {
      expect((await world.api("POST", "/system/dead/replay", body)).status).to.equal(400);
    });
});
