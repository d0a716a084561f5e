import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type IncomingMessage, request as httpRequest } from "node:http";
import { join } from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { expect } from "chai";
import { keptHeadSubject, keptPartsSubject, replicaControlSubject } from "../schemas/subjects.ts";
import { type Bus, openBus } from "../services/bus/connection.ts";
import { startTestGateway, type TestGateway } from "./support/gateway.ts";
import { eventually, startTestPlatform, type TestPlatform } from "./support/platform.ts";

/*
 * Streams of events that are kept, and clients that come back to them, through two gateways (issue 3, item 5).
 */

const server = `
import { createServer } from "node:http";
const streams = new Map();
const stateOf = (key) => streams.get(key) ?? streams.set(key, { open: [], opened: 0, closed: 0, flooded: 0 }).get(key);
createServer((request, response) => {
  const url = new URL(request.url, "http://x");
  const state = stateOf(url.searchParams.get("key"));
  const number = (name) => Number(url.searchParams.get(name));
  const begin = () => {
    response.writeHead(200, { "Content-Type": "text/event-stream; charset=utf-8" });
    response.flushHeaders();
    state.opened += 1;
    response.on("close", () => (state.closed += 1));
  };
  switch (url.pathname) {
    case "/open":
      begin();
      return state.open.push(response);
    case "/say":
      return request.on("data", (chunk) => state.open.forEach((each) => each.write(chunk))).on("end", () => response.end());
    case "/end":
      state.open.forEach((each) => each.end());
      return response.end();
    case "/break":
      state.open.forEach((each) => each.destroy());
      return response.end();
    case "/count": {
      begin();
      let at = 0;
      const next = () => {
        for (let burst = number("burst") || 1; burst > 0 && at < number("n"); burst -= 1) response.write("data: " + (at += 1) + "\\n\\n");
        if (at >= number("n")) return response.end();
        setTimeout(next, number("ms"));
      };
      return next();
    }
    case "/flood": {
      begin();
      const event = "data: " + "x".repeat(32 * 1024) + "\\n\\n";
      const flood = () => {
        while (!response.destroyed && state.flooded < number("n")) {
          state.flooded += 1;
          if (!response.write(event)) return response.once("drain", flood);
        }
        response.end();
      };
      return flood();
    }
    case "/tight": {
      begin();
      const rest = "x".repeat(number("bytes"));
      const tight = () => {
        while (state.flooded < number("n")) if (!response.write("data: " + (state.flooded += 1) + rest + "\\n\\n")) return response.once("drain", tight);
        response.end();
      };
      return tight();
    }
    case "/large":
      begin();
      return response.write("data: small\\n\\ndata: " + "x".repeat(300000) + "\\n\\n");
    case "/state":
      return response.end(JSON.stringify({ ...state, open: undefined, pid: process.pid }));
    case "/method":
      return response.end(request.method + " " + request.headers["last-event-id"]);
    default:
      return response.end();
  }
}).listen(Number(process.env.PORT), "127.0.0.1");
`;

const generator = `
export default async (event) => {
  const query = new URLSearchParams(event.query);
  const events = async function* () {
    const rest = "x".repeat(Number(query.get("bytes")));
    for (let at = 1; at <= Number(query.get("n")); at += 1) yield "data: " + at + rest + "\\n\\n";
  };
  if (!query.has("whole")) return { status: 200, headers: { "Content-Type": "text/event-stream" }, body: events() };
  let body = "";
  for await (const event of events()) body += event;
  return { status: 200, headers: { "Content-Type": "text/event-stream" }, body };
};
`;

const handler = `
export default async () => ({
  statusCode: 200,
  headers: { "Content-Type": "text/event-stream" },
  body: "data: one\\n\\ndata: two\\n\\n",
});
`;

interface State {
  readonly opened: number;
  readonly closed: number;
  readonly flooded: number;
  readonly pid: number;
}

/** A client of one stream. */
interface Reader {
  readonly response: IncomingMessage;
  readonly stream: string;
  /** What has come so far. */
  readonly text: () => string;
  readonly events: () => readonly SeenEvent[];
  /** Resolves when so many events are there. */
  readonly reach: (count: number) => Promise<void>;
  /** How it ended: "complete", or the code of an error. */
  readonly ended: Promise<string>;
  readonly leave: () => void;
}

interface SeenEvent {
  readonly id: string;
  readonly data: string;
}

const parseEvents = (text: string): readonly SeenEvent[] =>
  text
    .split("\n\n")
    .slice(0, -1)
    .map((block) => ({
      id: /^id: (.*)$/m.exec(block)?.[1] ?? "",
      data: [...block.matchAll(/^data: ?(.*)$/gm)].map(([, line]) => line).join("\n"),
    }));

const follow = (response: IncomingMessage): Reader => {
  let text = "";
  const looks = new Set<() => void>();
  response.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
    for (const look of looks) look();
  });
  const ended = new Promise<string>((resolve) => {
    response.once("end", () => resolve("complete"));
    response.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? "error"));
  });
  const events = (): readonly SeenEvent[] => parseEvents(text);
  return {
    response,
    stream: String(response.headers["busker-stream"]),
    text: () => text,
    events,
    reach: (count) =>
      new Promise((resolve) => {
        const look = (): void => {
          if (events().length < count) return;
          looks.delete(look);
          resolve();
        };
        looks.add(look);
        look();
      }),
    ended,
    leave: () => response.destroy(),
  };
};

const numbers = (count: number): string[] => Array.from({ length: count }, (_, at) => String(at + 1));

describe("kept streams of events", function () {
  this.timeout(60_000);
  let platform: TestPlatform;
  let second: TestGateway;
  let admin: Bus;
  let keys = 0;
  const nextKey = (): string => `k${(keys += 1)}`;

  before(async function () {
    this.timeout(60_000);
    platform = await startTestPlatform();
    second = await startTestGateway(platform);
    admin = await openBus({
      url: platform.natsUrl,
      credentialsFile: join(platform.dataFolder, "creds/admin.creds"),
      user: "admin",
      name: "test",
    });
    // What is looked into is the one process of a function, whatever its load.
    const labels = { "com.openfaas.scale.max": "1" };
    const more = { annotations: { "com.busker.stream.resume": "true" }, labels };
    const code = { "server.mjs": server };
    const http = { fprocess: "node server.mjs", mode: "http" };
    const deployments = [
      { name: "s", code, envVars: http, more },
      { name: "other", code, envVars: http, more },
      { name: "single", code, envVars: { ...http, max_inflight: "1" }, more },
      { name: "brief", code, envVars: { ...http, exec_timeout: "1s" }, more },
      { name: "fleeting", code, envVars: http },
      { name: "g", code: { "handler.mjs": generator }, envVars: { mode: "handler", handler: "handler.mjs" }, more },
      {
        name: "command",
        code: { "run.sh": "for n in 1 2 3; do printf 'data: %s\\n\\n' $n; sleep 0.1; done" },
        envVars: { fprocess: "sh run.sh", content_type: "text/event-stream" },
        more,
      },
      { name: "h", code: { "h.mjs": handler }, envVars: { mode: "handler", handler: "h.mjs" }, more },
    ];
    for (const fn of deployments) {
      const response = await platform.deploy(fn);
      expect(response.status, await response.text()).to.equal(202);
    }
    await eventually("the second gateway knows them", async () =>
      (await fetch(`${second.url}/function/h`)).ok ? true : undefined,
    );
  });

  after(async () => {
    await admin?.close();
    await second?.stop();
    expect(await platform.stop()).to.equal(0);
  });

  const ask = async (
    path: string,
    headers: Record<string, string> = {},
    url = platform.url,
    method = "GET",
  ): Promise<IncomingMessage> => {
    const request = httpRequest(`${url}/function/${path}`, { headers, method, agent: false });
    request.end();
    const [response] = (await once(request, "response")) as [IncomingMessage];
    // What breaks after the head is told by the response, too.
    request.on("error", () => {});
    return response;
  };

  const read = async (path: string, lastEventId?: string, url = platform.url): Promise<Reader> =>
    follow(await ask(path, lastEventId === undefined ? {} : { "Last-Event-ID": lastEventId }, url));

  const tell = (what: "say" | "end" | "break", key: string, text = "", name = "s"): Promise<Response> =>
    platform.invoke(`${name}/${what}?key=${key}`, { method: "POST", body: text });

  const stateOf = async (key: string, name = "s"): Promise<State> =>
    (await (await platform.invoke(`${name}/state?key=${key}`)).json()) as State;

  const residentMb = (pid = 0): number =>
    Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;

  /** The parent of a function's process. */
  const watchdogOf = (pid: number): number => {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
  };

  it("gives each event the stream's id and its number, and keeps an id of the function's own behind them", async () => {
    const key = nextKey();
    const one = await read(`s/open?key=${key}`);
    expect(one.response.headers["content-type"]).to.equal("text/event-stream; charset=utf-8");
    expect(one.response.headers["x-call-id"]).to.be.a("string");
    expect(one.stream).to.match(/^[0-9a-f]{32}$/);
    await tell("say", key, "data: a\n\nid: mine\ndata: b\ndata: c\n\nretry: 100\n\ndata: d\n\n");
    await tell("end", key);
    expect(await one.ended).to.equal("complete");
    expect(one.text()).to.equal(
      `id: ${one.stream}.1\ndata: a\n\nid: ${one.stream}.2:mine\ndata: b\ndata: c\n\n` +
        `id: ${one.stream}.3:mine\nretry: 100\n\nid: ${one.stream}.4:mine\ndata: d\n\n`,
    );
  });

  it("passes each event on at once, and a comment that only keeps the connection alive", async () => {
    const key = nextKey();
    const one = await read(`s/open?key=${key}`);
    for (const [at, text] of ["data: a\n\n", ": alive\n", "data: b\r\n\r\n"].entries()) {
      await tell("say", key, text);
      await one.reach(at + 1);
    }
    await tell("end", key);
    expect(await one.ended).to.equal("complete");
  });

  it("goes on behind the last event a client has, without a gap or a repeat, through any gateway", async () => {
    const seen: SeenEvent[] = [];
    let reader = await read("s/count?n=300&ms=3");
    const { stream } = reader;
    for (let turn = 0; ; turn += 1) {
      const done = await Promise.race([reader.ended, reader.reach(20 + turn * 7).then(() => "enough")]);
      reader.leave();
      seen.push(...reader.events());
      if (done === "complete") break;
      reader = await read("s/count?n=300&ms=3", seen.at(-1)?.id, turn % 2 === 0 ? second.url : platform.url);
      expect(reader.stream).to.equal(stream);
      expect(reader.response.statusCode).to.equal(200);
    }
    expect(seen.map(({ data }) => data)).to.deep.equal(numbers(300));
    expect(seen.map(({ id }) => id)).to.deep.equal(numbers(300).map((number) => `${stream}.${number}`));
  });

  it("shows the same to several who watch one call, from its beginning, whenever they come and where", async () => {
    const key = nextKey();
    const first = await read(`s/open?key=${key}`);
    await tell("say", key, "data: a\n\ndata: b\n\n");
    await first.reach(2);
    const others = [await read("s", first.stream), await read("s/any/path", `${first.stream}.0`, second.url)];
    await tell("say", key, "data: c\n\n");
    for (const each of [first, ...others]) await each.reach(3);
    await tell("end", key);
    const late = await read("s", first.stream, second.url);
    for (const each of [first, ...others, late]) {
      expect(await each.ended).to.equal("complete");
      expect(each.text()).to.equal(first.text());
    }
    expect((await stateOf(key)).opened).to.equal(1);
  });

  it("lets the function go on when nobody watches, to the end", async () => {
    const reader = await read("s/count?n=100&ms=5");
    await reader.reach(1);
    reader.leave();
    const back = await eventually("it is complete", async () => {
      const again = await read("s", reader.stream, second.url);
      return (await again.ended) === "complete" ? again : undefined;
    });
    expect(back.events().map(({ data }) => data)).to.deep.equal(numbers(100));
  });

  it("outlives the gateway that began it, killed in the middle", async () => {
    const first = await read("s/count?n=400&ms=5");
    await first.reach(30);
    const [pid] = platform.pids("gateway/main").filter((candidate) => candidate !== second.process.pid);
    process.kill(pid ?? 0, "SIGKILL");
    expect(await first.ended).to.equal("ECONNRESET");
    const back = await read("s", first.events().at(-1)?.id, second.url);
    expect(await back.ended).to.equal("complete");
    expect([...first.events(), ...back.events()].map(({ data }) => data)).to.deep.equal(numbers(400));
    await eventually("the first gateway is back", async () =>
      (await fetch(`${platform.url}/healthz`).catch(() => undefined))?.ok ? true : undefined,
    );
  });

  it("says 204 to who has all of a complete stream, which tells an EventSource to stop", async () => {
    const reader = await read("s/count?n=5&ms=0");
    expect(await reader.ended).to.equal("complete");
    const back = await read("s/count?n=5&ms=0", reader.events().at(-1)?.id, second.url);
    expect(back.response.statusCode).to.equal(204);
    expect(back.response.headers["x-call-id"]).to.equal(reader.response.headers["x-call-id"]);
  });

  const gone: readonly (readonly [string, (stream: string) => string, string, RegExp])[] = [
    ["a stream that never was", () => `${"0".repeat(32)}.3`, "s", /stream 0{32} of function s.openfaas-fn is not kept/],
    ["another function's stream", (stream) => stream, "other", /of function other.openfaas-fn is not kept/],
    ["an event that never was", (stream) => `${stream}.7`, "s", /has no event 7/],
    ["the end as if it were an event", (stream) => `${stream}.6`, "s", /has no event 6/],
  ];
  for (const [what, idOf, name, says] of gone)
    it(`says 410 to who names ${what}`, async () => {
      const reader = await read("s/count?n=5&ms=0");
      await reader.ended;
      const back = await read(name, idOf(reader.stream));
      await back.ended;
      expect(back.response.statusCode).to.equal(410);
      expect(back.response.headers["x-busker-error"]).to.equal("stream_gone");
      expect(back.text()).to.match(says);
    });

  it("says 410 when the time for which a stream is kept is over", async () => {
    const reader = await read("s/count?n=5&ms=0");
    await reader.ended;
    const manager = await jetstreamManager(admin.nc);
    for (const filter of [keptPartsSubject, keptHeadSubject].map((of) => of("openfaas-fn", "s", reader.stream)))
      await manager.streams.purge("STREAMS", { filter });
    const back = await read("s", `${reader.stream}.2`);
    await back.ended;
    expect(back.response.statusCode).to.equal(410);
  });

  it("says 410 to who wants events older than the ten thousand that are kept", async function () {
    this.timeout(60_000);
    const reader = await read("s/count?n=12000&ms=1&burst=100");
    expect(await reader.ended).to.equal("complete");
    expect(reader.events()).to.have.length(12_000);
    const early = await read("s", `${reader.stream}.1999`);
    await early.ended;
    expect(early.response.statusCode).to.equal(410);
    expect(early.text()).to.contain("no longer has event 2000: its oldest is 2001");
    for (const from of [2000, 7000, 11_990]) {
      const back = await read("s", `${reader.stream}.${from}`, second.url);
      expect(await back.ended).to.equal("complete");
      expect(back.events().map(({ data }) => data)).to.deep.equal(numbers(12_000).slice(from));
    }
  });

  it("finds an event among those of many other streams", async function () {
    this.timeout(60_000);
    const readers = await Promise.all(Array.from({ length: 8 }, () => read("s/count?n=2000&ms=2&burst=20")));
    for (const reader of readers) expect(await reader.ended).to.equal("complete");
    for (const from of [0, 1, 500, 1999]) {
      const back = await read("s", `${readers[from % 8]?.stream}.${from}`);
      expect(await back.ended).to.equal("complete");
      expect(back.events().map(({ data }) => data)).to.deep.equal(numbers(2000).slice(from));
    }
  });

  it("does not let a slow watcher slow the function or others, nor fill the gateway's memory", async function () {
    this.timeout(60_000);
    const key = nextKey();
    const events = 3000;
    const quick = await read(`s/flood?key=${key}&n=${events}`);
    const before = residentMb(second.process.pid);
    const slow = await ask("s", { "Last-Event-ID": quick.stream }, second.url);
    await once(slow, "readable");
    expect(await quick.ended).to.equal("complete");
    expect(quick.events()).to.have.length(events);
    expect((await stateOf(key)).flooded).to.equal(events);
    expect(residentMb(second.process.pid) - before).to.be.lessThan(60);
    const late = follow(slow);
    expect(await late.ended).to.equal("complete");
    expect(late.text() === quick.text()).to.equal(true);
  });

  const tight: readonly (readonly [string, (key: string) => string])[] = [
    ["a server", (key) => `s/tight?key=${key}&n=30000&bytes=20`],
    ["a handler", () => "g?n=30000&bytes=20"],
    ["a handler whose answer is there as a whole", () => "g?n=30000&bytes=20&whole"],
  ];
  for (const [what, pathOf] of tight)
    it(`gives one live reader all that ${what} writes in a tight loop, three times what is kept`, async function () {
      this.timeout(60_000);
      const reader = await read(pathOf(nextKey()));
      expect(await reader.ended).to.equal("complete");
      const filled = numbers(30_000).map((number) => number + "x".repeat(20));
      expect(reader.events().map(({ data }) => data)).to.deep.equal(filled);
      expect(reader.events().map(({ id }) => id)).to.deep.equal(
        numbers(30_000).map((number) => `${reader.stream}.${number}`),
      );
    });

  it("holds a fast function up for the reader of its call, who pauses, and keeps the watchdog small", async function () {
    this.timeout(60_000);
    const key = nextKey();
    const response = await ask(`s/tight?key=${key}&n=30000&bytes=1000`);
    const { pid } = await stateOf(key);
    const before = residentMb(watchdogOf(pid));
    await once(response, "readable");
    await new Promise((resolve) => setTimeout(resolve, 2000));
    expect((await stateOf(key)).flooded).to.be.within(4096, 20_000);
    expect(residentMb(watchdogOf(pid)) - before).to.be.lessThan(40);
    const reader = follow(response);
    expect(await reader.ended).to.equal("complete");
    const seen = reader.events();
    expect(seen.map(({ data }) => Number.parseInt(data, 10))).to.deep.equal(numbers(30_000).map(Number));
    expect(residentMb(watchdogOf(pid)) - before).to.be.lessThan(40);
  });

  it("lets a function go on whose reader has stopped for good, and breaks off to the reader", async function () {
    this.timeout(60_000);
    const key = nextKey();
    const response = await ask(`s/tight?key=${key}&n=40000&bytes=1000`);
    await once(response, "readable");
    const startMs = Date.now();
    await eventually("the function is through", async () => (await stateOf(key)).closed === 1 || undefined, 30_000);
    expect(Date.now() - startMs).to.be.within(8000, 20_000);
    expect(await follow(response).ended).to.equal("ECONNRESET");
  });

  it("lets a function go on whose reader has left, or whose gateway was killed, at once", async function () {
    this.timeout(60_000);
    for (const end of ["reader", "gateway"]) {
      const key = nextKey();
      const response = await ask(`s/tight?key=${key}&n=40000&bytes=1000`, {}, second.url);
      await once(response, "readable");
      await eventually("the function is held up", async () => {
        const { flooded } = await stateOf(key);
        await new Promise((resolve) => setTimeout(resolve, 300));
        return (flooded > 4000 && (await stateOf(key)).flooded === flooded) || undefined;
      });
      const startMs = Date.now();
      if (end === "reader") response.destroy();
      else {
        response.on("error", () => {});
        second.process.kill("SIGKILL");
      }
      await eventually("the function is through", async () => (await stateOf(key)).closed === 1 || undefined);
      expect(Date.now() - startMs).to.be.lessThan(15_000);
      const late = await read("s", `${String(response.headers["busker-stream"])}.30000`);
      expect(await late.ended).to.equal("complete");
      expect(late.events()).to.have.length(10_000);
    }
    second = await startTestGateway(platform);
    await eventually("it knows the functions", async () => (await fetch(`${second.url}/function/h`)).ok || undefined);
  });

  it("never makes a stream look complete that the function broke off, to those who come back either", async () => {
    const key = nextKey();
    const first = await read(`s/open?key=${key}`);
    await tell("say", key, "data: a\n\ndata: b\n\n");
    await first.reach(2);
    await tell("break", key);
    expect(await first.ended).to.equal("ECONNRESET");
    const back = await read("s", `${first.stream}.1`, second.url);
    expect(await back.ended).to.equal("ECONNRESET");
    expect(back.events().map(({ data }) => data)).to.deep.equal(["b"]);
    const last = await read("s", `${first.stream}.2`, second.url);
    await last.ended;
    expect(last.response.statusCode).to.equal(502);
    expect(last.response.headers["x-busker-error"]).to.equal("function_unreachable");
  });

  it("ends at the call's deadline, and says so", async () => {
    const first = await read("brief/count?n=1000&ms=50");
    const second_ = await read("brief", first.stream, second.url);
    expect(await first.ended).to.equal("ECONNRESET");
    expect(await second_.ended).to.equal("ECONNRESET");
    const last = await read("brief", first.events().at(-1)?.id);
    await last.ended;
    expect(last.response.statusCode).to.equal(504);
  });

  it("breaks off at an event larger than one may be, says why, and stops the function", async () => {
    const key = nextKey();
    const first = await read(`s/large?key=${key}`);
    expect(await first.ended).to.equal("ECONNRESET");
    expect(first.events().map(({ data }) => data)).to.deep.equal(["small"]);
    const last = await read("s", `${first.stream}.1`);
    await last.ended;
    expect(last.response.statusCode).to.equal(502);
    expect(last.text()).to.contain("larger than 262144 bytes");
    await eventually("the function is stopped", async () => (await stateOf(key)).closed === 1 || undefined);
  });

  it("ends for all who watch when the replica is killed", async () => {
    const key = nextKey();
    const first = await read(`other/open?key=${key}`);
    await tell("say", key, "data: a\n\n", "other");
    const watcher = await read("other", first.stream, second.url);
    await watcher.reach(1);
    const { pid } = await stateOf(key, "other");
    process.kill(watchdogOf(pid), "SIGKILL");
    expect(await first.ended).to.equal("ECONNRESET");
    expect(await watcher.ended).to.equal("ECONNRESET");
    expect(watcher.events().map(({ data }) => data)).to.deep.equal(["a"]);
    const late = await read("other", first.stream, second.url);
    expect(await late.ended).to.equal("ECONNRESET");
    for (const url of [platform.url, second.url]) {
      const last = await read("other", `${first.stream}.1`, url);
      await last.ended;
      expect(last.response.statusCode).to.equal(502);
      expect(last.response.headers["x-busker-error"]).to.equal("replica_lost");
    }
    await eventually("it serves again", async () => (await platform.invoke("other/")).ok || undefined);
  });

  it("is stopped by a cancel of its call", async () => {
    const key = nextKey();
    const first = await read(`s/open?key=${key}`);
    await tell("say", key, "data: a\n\n");
    await first.reach(1);
    const { replicas } = JSON.parse(await functionStatus("s")) as { replicas: { id: string; state: string }[] };
    const callId = first.response.headers["x-call-id"];
    for (const { id } of replicas)
      admin.nc.publish(replicaControlSubject(id), JSON.stringify({ kind: "cancel", callId }));
    expect(await first.ended).to.equal("ECONNRESET");
    await eventually("the function is stopped", async () => (await stateOf(key)).closed === 1 || undefined);
  });

  const functionStatus = async (name: string): Promise<string> => {
    const manager = await jetstreamManager(admin.nc);
    const stored = await manager.streams.getMessage("KV_status", {
      last_by_subj: `$KV.status.${name}.openfaas-fn`,
    });
    return stored?.string() ?? "{}";
  };

  const ordinary: readonly (readonly [string, string, string, string])[] = [
    ["a Last-Event-ID of the function's own", "s", "42", "GET 42"],
    ["an id that only looks like one", "s", `${"0".repeat(32)}:3`, `GET ${"0".repeat(32)}:3`],
    ["a function without the annotation", "fleeting", `${"0".repeat(32)}.3`, `GET ${"0".repeat(32)}.3`],
  ];
  for (const [what, name, id, body] of ordinary)
    it(`leaves ${what} to the function`, async () => {
      const reader = await read(`${name}/method`, id);
      await reader.ended;
      expect([reader.response.statusCode, reader.text()]).to.deep.equal([200, body]);
      expect(reader.response.headers).to.not.have.property("busker-stream");
    });

  for (const behind of [".x", ".-1", ".", ".1x", `.${"9".repeat(16)}`])
    it(`says 400 to an id of Busker's that goes on as "${behind}", because it would start another call`, async () => {
      const reader = await read("s/method", `${"0".repeat(32)}${behind}`);
      await reader.ended;
      expect(reader.response.statusCode).to.equal(400);
      expect(reader.response.headers["x-busker-error"]).to.equal("invalid_request");
      expect(reader.text()).to.match(/Last-Event-ID .*<stream>\.<number>/);
    });

  it("leaves a HEAD request to the function", async () => {
    const response = await ask("s/method", { "Last-Event-ID": `${"0".repeat(32)}.3` }, platform.url, "HEAD");
    expect(response.statusCode).to.equal(200);
    response.resume();
  });

  it("keeps the events of a whole answer, too", async () => {
    const reader = await read("h");
    expect(await reader.ended).to.equal("complete");
    expect(reader.events().map(({ id, data }) => [id, data])).to.deep.equal([
      [`${reader.stream}.1`, "one"],
      [`${reader.stream}.2`, "two"],
    ]);
    const back = await read("h", `${reader.stream}.1`, second.url);
    expect(await back.ended).to.equal("complete");
    expect(back.events()).to.have.length(1);
  });

  it("keeps the events of a command whose content_type says that they are some", async () => {
    const reader = await read("command");
    expect(await reader.ended).to.equal("complete");
    expect(reader.events()).to.deep.equal(numbers(3).map((data) => ({ id: `${reader.stream}.${data}`, data })));
  });

  it("refuses an annotation that is neither true nor false, naming it", async () => {
    const more = { annotations: { "com.busker.stream.resume": "yes" } };
    const response = await platform.deploy({
      name: "wrong",
      code: { "h.mjs": handler },
      envVars: { mode: "handler" },
      more,
    });
    expect(response.status).to.equal(400);
    expect(await response.text()).to.contain("com.busker.stream.resume");
  });

  it("holds its slot while the function runs, whoever watches, and not longer", async () => {
    const key = nextKey();
    const first = await read(`single/count?key=${key}&n=20&ms=20`);
    await first.reach(1);
    first.leave();
    const state = await stateOf(key, "single");
    expect(state.closed).to.equal(1);
    const back = await read("single", first.stream);
    expect(await back.ended).to.equal("complete");
    expect(back.events()).to.have.length(20);
  });

  it("breaks off when the nats-server is killed, and does not look complete to who comes back", async function () {
    this.timeout(60_000);
    const key = nextKey();
    const first = await read(`s/open?key=${key}`);
    await tell("say", key, "data: a\n\ndata: b\n\n");
    await first.reach(2);
    for (const pid of platform.pids("nats-server")) process.kill(pid, "SIGKILL");
    expect(await first.ended).to.equal("ECONNRESET");
    const back = await eventually("the stream is found again", async () => {
      const again = await read("s", `${first.stream}.1`, second.url);
      return again.response.statusCode === 503 ? undefined : again;
    });
    expect(back.response.statusCode).to.equal(200);
    expect(await back.ended).to.equal("ECONNRESET");
    expect(back.events().map(({ data }) => data)).to.deep.equal(["b"]);
    await eventually("the function is stopped", async () => {
      const state = await stateOf(key).catch(() => undefined);
      return state?.closed === 1 || undefined;
    });
    const next = await eventually("streams are kept again", async () => {
      const reader = await read("s/count?n=3&ms=0");
      return (await reader.ended) === "complete" && reader.events().length === 3 ? reader : undefined;
    });
    expect(next.stream).to.match(/^[0-9a-f]{32}$/);
  });

  it("leaves nothing behind: no consumer, no reader, no call", async () => {
    await Promise.all(
      Array.from({ length: 30 }, async (_, at) => {
        const reader = await read("s/count?n=20&ms=10", undefined, at % 2 === 0 ? platform.url : second.url);
        await reader.reach(1 + (at % 10));
        const other = await read("s", reader.stream, second.url);
        if (at % 3 === 0) reader.leave();
        await other.reach(2);
        other.leave();
        if (at % 3 !== 0) await reader.ended;
      }),
    );
    await eventually("the consumers are gone", async () => {
      const { state } = await (await jetstreamManager(admin.nc)).streams.info("STREAMS");
      return state.consumer_count === 0 || undefined;
    });
    await eventually("no reader and no call is left", async () => {
      const text = await (await fetch(platform.metricsUrl)).text();
      const zero = (name: string): boolean =>
        new RegExp(`${name}\\{function_name="s\\.openfaas-fn"\\} 0\\b`).test(text);
      return (zero("gateway_function_stream_readers") && zero("gateway_function_invocation_inflight")) || undefined;
    });
  });
});
