import { expect } from "chai";
import { type FakeAnswer, type FakeGateway, startFakeGateway } from "../fixtures/fake-gateway.ts";
import { type CliRun, runInMemory } from "../fixtures/run-in-memory.ts";

const json = (status: number, value: unknown): FakeAnswer => ({ status, body: JSON.stringify(value) });

const at = "2026-01-31T12:00:00.000Z";
const listed = {
  id: "c1",
  function: "fn.openfaas-fn",
  kind: "durable",
  state: "retrying",
  at,
  attempts: 2,
  status: 503,
  durationSeconds: 0.02,
};
const shown = { id: "c1", function: "fn.openfaas-fn", state: "succeeded" };
const responseOf = (body: string, more: object = {}) => ({
  status: 200,
  headers: { "Content-Type": "text/plain" },
  bytes: body.length,
  body,
  ...more,
});

describe("busker calls and busker dead", () => {
  let gateway: FakeGateway;
  const start = async (routes: Readonly<Record<string, FakeAnswer>>): Promise<void> => {
    gateway = await startFakeGateway(routes);
  };
  const run = (...args: readonly string[]): Promise<CliRun> => runInMemory([...args, "-g", gateway.url]);
  const queries = (): string[] => gateway.seen.map(({ url }) => new URL(url, gateway.url).search);
  afterEach(() => gateway?.close());

  describe("calls", () => {
    it("lists calls as a table, with its options in the query", async () => {
      await start({ "GET /system/calls": json(200, { calls: [listed], more: true, since: at }) });
      const args = ["--function", "fn", "--state", "retrying", "--kind", "durable", "--since", "2026-01-01T00:00:00Z"];
      const { code, stdout, stderr } = await run("calls", ...args, "--limit", "5");
      expect([code, stdout.toString()]).to.deep.equal([
        0,
        "CHANGED                   ID  FUNCTION        KIND     STATE     ATTEMPTS  STATUS  TOOK\n" +
          `${at}  c1  fn.openfaas-fn  durable  retrying  2         503     20 ms\n`,
      ]);
      expect(stderr).to.contain(`there are more before ${at}`);
      expect(queries()).to.deep.equal([
        "?function=fn&state=retrying&kind=durable&since=2026-01-01T00%3A00%3A00Z&limit=5",
      ]);
    });

    it("says on standard error that there are none, and prints JSON as the gateway gives it", async () => {
      const none = { calls: [], more: false, since: at };
      await start({ "GET /system/calls": json(200, none) });
      const table = await run("calls");
      expect([table.stdout.length, table.stderr]).to.deep.equal([0, `busker: no such calls since ${at}\n`]);
      expect(JSON.parse((await run("calls", "--json")).stdout.toString())).to.deep.equal(none);
    });

    it("follows changes and goes on behind the last one when the connection breaks", async () => {
      const asked: (string | undefined)[] = [];
      await start({
        "GET /system/calls": (response, { headers }) => {
          asked.push(headers["last-event-id"] as string | undefined);
          if (asked.length === 3) return void response.writeHead(503).end("away");
          response.writeHead(200, { "content-type": "text/event-stream" });
          response.write(`id: ${asked.length}\nevent: open\ndata: {}\n\n`);
          response.end(`:\n\nid: 1${asked.length}\nevent: call\ndata: ${JSON.stringify(listed)}\n\n`);
        },
      });
      const { code, stdout, stderr } = await run("calls", "--follow", "--function", "fn");
      expect(stdout.toString()).to.equal(`${at}  c1  fn.openfaas-fn  durable  retrying  2  503  20 ms\n`.repeat(2));
      expect(asked).to.deep.equal([undefined, "11", "12"]);
      expect([code, stderr.includes("cannot follow calls: away (HTTP 503)")]).to.deep.equal([1, true]);
    });

    it("show writes the call, its history, its lines and what came of it", async () => {
      const story = {
        call: { ...shown, request: { method: "PUT", path: "/a", headers: { "X-A": "1" }, bytes: 2, body: "in" } },
        history: [
          { at, state: "queued" },
          { at, state: "succeeded", attempt: 1, status: 200, durationSeconds: 2 },
        ],
        logs: [{ at, instance: "fn-1", text: "hello" }],
        children: [{ id: "c2", function: "other.openfaas-fn", kind: "durable", at }],
        complete: true,
      };
      await start({ "GET /system/calls/a%2Fb/story": json(200, story) });
      const text = (await run("calls", "show", "a/b")).stdout.toString();
      expect(text).to.equal(
        "call:      c1\nfunction:  fn.openfaas-fn\nstate:     succeeded\n\nrequest:   PUT /a\n  X-A: 1\n\n  in\n\n" +
          `history:\n  ${at}  queued\n  ${at}  succeeded  attempt 1, status 200, 2.0 s\n\n` +
          `logs:\n  ${at}  fn-1  hello\n\nwhat came of it:\n  ${at}  c2  other.openfaas-fn (durable)\n`,
      );
      expect(JSON.parse((await run("calls", "show", "a/b", "--json")).stdout.toString())).to.deep.equal(story);
    });

    it("cancel says so, or why not", async () => {
      await start({
        "DELETE /system/calls/c1": { status: 202 },
        "DELETE /system/calls/c2": { status: 409, body: "it is over" },
      });
      expect((await run("calls", "cancel", "c1")).stdout.toString()).to.equal("c1 cancelled\n");
      const refused = await run("calls", "cancel", "c2");
      expect([refused.code, refused.stderr]).to.deep.equal([
        1,
        "busker: cannot cancel call c2: it is over (HTTP 409)\n",
      ]);
    });

    const ends: readonly (readonly [string, number, boolean])[] = [
      ["succeeded", 0, true],
      ["dead", 1, true],
      ["cancelled", 3, false],
      ["running", 4, false],
    ];
    for (const [state, code, hasResponse] of ends)
      it(`wait exits ${code} for a call that is ${state}, with the response byte for byte where there is one`, async () => {
        const bytes = Buffer.from([0, 255, 10]);
        await start({
          "GET /system/calls/c1": json(200, { ...shown, state, ...(hasResponse ? { response: responseOf("") } : {}) }),
          "GET /system/calls/c1/response": { status: 200, body: bytes },
        });
        const ended = await run("calls", "wait", "c1", "--timeout", state === "running" ? "0s" : "30s");
        expect([ended.code, ended.stdout.equals(hasResponse ? bytes : Buffer.alloc(0))]).to.deep.equal([code, true]);
        expect(ended.stderr.includes(`call c1 is ${state}`)).to.equal(code !== 0);
        expect(queries()[0]).to.match(/^\?wait=(30|0)s$/);
      });

    it("wait asks again until the call is over", async () => {
      let asked = 0;
      await start({
        "GET /system/calls/c1": (response) =>
          void response.end(JSON.stringify({ ...shown, state: (asked += 1) < 3 ? "queued" : "cancelled" })),
      });
      expect([(await run("calls", "wait", "c1")).code, asked]).to.deep.equal([3, 3]);
    });

    it("replay prints the new call's id, and sends the other function", async () => {
      await start({ "POST /system/calls/c1/replay": json(202, { id: "c9", replayOf: "c1" }) });
      const { code, stdout } = await run("calls", "replay", "c1", "--to", "new.dev");
      expect([code, stdout.toString(), gateway.seen[0]?.body.toString()]).to.deep.equal([
        0,
        "c9\n",
        '{"to":"new.dev"}',
      ]);
    });

    const replayRoutes = (again: object): Readonly<Record<string, FakeAnswer>> => ({
      "POST /system/calls/c1/replay": json(202, { id: "c9", replayOf: "c1" }),
      "GET /system/calls/c1/story": json(200, { call: { ...shown, response: responseOf("a\nb") } }),
      "GET /system/calls/c9": json(200, { ...shown, id: "c9", ...again }),
      "GET /system/calls/c9/response": { status: 200, body: "a\nlong" },
    });

    it("replay --diff exits 0 when the new call answered the same", async () => {
      await start(replayRoutes({ response: responseOf("a\nb", { headers: { "content-type": "text/plain" } }) }));
      const { code, stdout } = await run("calls", "replay", "c1", "--diff");
      expect([code, stdout.toString()]).to.deep.equal([0, "c9 answered the same as c1\n"]);
    });

    it("replay --diff exits 1 with what differs, a body that is kept elsewhere included", async () => {
      await start(replayRoutes({ response: { status: 201, headers: {}, bytes: 6 } }));
      const { code, stdout } = await run("calls", "replay", "c1", "--diff");
      expect([code, stdout.toString()]).to.deep.equal([
        1,
        "- c1\n+ c9\n- 200 (succeeded)\n+ 201 (succeeded)\n- content-type: text/plain\nbody, from line 2 on:\n- b\n+ long\n",
      ]);
    });

    it("replay --diff exits 4 when the new call is not over in time", async () => {
      await start(replayRoutes({ state: "running" }));
      expect((await run("calls", "replay", "c1", "--diff", "--timeout", "0s")).code).to.equal(4);
    });
  });

  describe("dead", () => {
    const letter = {
      id: "c1",
      function: "fn.openfaas-fn",
      at,
      attempts: 10,
      status: 500,
      error: { code: "function_failed", message: "fn answered 500\nmore" },
    };

    it("list shows when and why, and says that there are more", async () => {
      await start({ "GET /system/dead": json(200, { letters: [letter], more: true }) });
      const { stdout, stderr } = await run("dead", "list", "-f", "fn");
      expect(stdout.toString()).to.equal(
        "DIED                      ID  FUNCTION        ATTEMPTS  WHY\n" +
          `${at}  c1  fn.openfaas-fn  10        function_failed: fn answered 500\n`,
      );
      expect([queries(), stderr.includes("there are more")]).to.deep.equal([["?function=fn"], true]);
    });

    it("show writes the request and the last response", async () => {
      const call = { ...shown, state: "dead", error: letter.error, response: responseOf("out") };
      await start({ "GET /system/dead/c1": json(200, call) });
      expect((await run("dead", "show", "c1")).stdout.toString()).to.match(
        /^error: +function_failed: fn answered 500\nmore\n\nresponse: +200\n {2}Content-Type: text\/plain\n\n {2}out$/m,
      );
    });

    it("show writes each attempt", async () => {
      const attempts = [
        { number: 1, startedAt: at, durationSeconds: 0.02, status: 503 },
        { number: 2, startedAt: at, durationSeconds: 1, error: { code: "replica_lost", message: "it went away" } },
      ];
      await start({ "GET /system/dead/c1": json(200, { ...shown, state: "dead", attempts }) });
      expect((await run("dead", "show", "c1")).stdout.toString()).to.contain(
        `\nattempts:\n  ${at}  attempt 1, status 503, 20 ms\n  ${at}  attempt 2, 1.0 s, replica_lost: it went away\n`,
      );
    });

    it("show gives the terminal no orders of a stranger's, and says what is in base64", async () => {
      const request = {
        method: "POST",
        path: "/",
        headers: { "X-A": "\u009b2J" },
        bytes: 9,
        body: "a\r\n\tb\u001b[2J",
      };
      const response = { status: 200, headers: {}, bytes: 1, bodyBase64: "/w==" };
      await start({ "GET /system/dead/c1": json(200, { ...shown, request, response }) });
      const text = (await run("dead", "show", "c1")).stdout.toString();
      expect(text).to.contain("  X-A: \\x9b2J\n\n  a\n  \tb\\x1b[2J\n");
      expect(text).to.contain("  /w==\n  (not text: in base64)\n");
    });

    it("replay says what runs again as what, and exits 1 when one does not", async () => {
      await start({
        "POST /system/dead/replay": json(200, {
          replayed: [{ replayOf: "c1", id: "c9" }, { replayOf: "c2.callback" }],
          failed: [{ id: "c3", code: "call_not_found", message: "no such letter" }],
          more: false,
        }),
      });
      const { code, stdout, stderr } = await run("dead", "replay", "c1", "c2.callback", "c3", "--to", "new", "--keep");
      expect([code, stdout.toString(), stderr]).to.deep.equal([
        1,
        "c1 runs again as c9\nc2.callback is told again\n",
        "busker: c3 not replayed: call_not_found: no such letter\n",
      ]);
      expect(JSON.parse(gateway.seen[0]?.body.toString() ?? "")).to.deep.equal({
        ids: ["c1", "c2.callback", "c3"],
        to: "new",
        keep: true,
      });
    });

    it("replay of a function asks as often as there are more", async () => {
      let asked = 0;
      await start({
        "POST /system/dead/replay": (response) => {
          asked += 1;
          response.end(JSON.stringify({ replayed: [{ replayOf: `c${asked}`, id: "n" }], failed: [], more: asked < 3 }));
        },
      });
      const { stdout } = await run("dead", "replay", "--function", "fn");
      expect(stdout.toString().split("\n").length - 1).to.equal(3);
    });

    it("purge of ids and of a function says how many are gone", async () => {
      await start({
        "DELETE /system/dead/c1": { status: 204 },
        "DELETE /system/dead": json(200, { purged: 7 }),
      });
      expect((await run("dead", "purge", "c1")).stdout.toString()).to.equal("dead letters purged: 1\n");
      expect((await run("dead", "purge", "-f", "fn")).stdout.toString()).to.equal("dead letters purged: 7\n");
    });
  });
});
