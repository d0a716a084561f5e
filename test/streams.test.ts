import { randomBytes } from "node:crypto";
import { once } from "node:events";
import type { ClientRequest, IncomingMessage } from "node:http";
import { expect } from "chai";
import { digest, endOf, nextChunk, openRequest, readBody, responseTo } from "./support/http.ts";
import { eventually, startTestPlatform, type TestPlatform } from "./support/platform.ts";
import { descriptorsOf, isParentOf } from "./support/processes.ts";

/*
 * Bodies of any size, streams and their faults, through a whole platform (issue 3).
 */

const server = `
import { createServer } from "node:http";
import { createHash } from "node:crypto";
let aborted = 0;
let flooded = 0;
createServer((request, response) => {
  const url = new URL(request.url, "http://x");
  switch (url.pathname) {
    case "/echo":
      if (request.headers["content-length"]) response.setHeader("Content-Length", request.headers["content-length"]);
      return request.pipe(response);
    case "/hash": {
      const hash = createHash("sha256");
      request.on("data", (chunk) => hash.update(chunk));
      return request.on("end", () => response.end(hash.digest("hex")));
    }
    case "/events": {
      response.writeHead(200, { "Content-Type": "text/event-stream" });
      response.write("data: first\\n\\n");
      response.on("close", () => (aborted += 1));
      return request.on("data", (chunk) => response.write("data: " + chunk + "\\n\\n"));
    }
    case "/flood": {
      const piece = Buffer.alloc(65536, "x");
      flooded = 0;
      const flood = () => {
        while (!response.destroyed) {
          flooded += piece.length;
          if (!response.write(piece)) return response.once("drain", flood);
        }
      };
      response.on("close", () => (aborted += 1));
      return flood();
    }
    case "/sink":
      request.on("close", () => (aborted += request.complete ? 0 : 1));
      return request.resume();
    case "/flooded":
      return response.end(String(flooded));
    case "/aborted":
      return response.end(String(aborted));
    case "/early":
      return response.writeHead(403).end("no");
    case "/short":
      response.writeHead(200, { "Content-Length": "1000000" });
      response.write("x".repeat(300000));
      return setTimeout(() => response.destroy(), 20);
    case "/pid":
      return response.end(String(process.pid));
    default:
      return response.end();
  }
}).listen(Number(process.env.PORT), "127.0.0.1");
`;

const handler = "export default async (event) => String(event.body.length);";

interface Answered {
  readonly status: number | undefined;
  readonly headers: IncomingMessage["headers"];
  readonly body: Buffer;
}

describe("streamed bodies", function () {
  this.timeout(60_000);
  let platform: TestPlatform;

  before(async function () {
    this.timeout(60_000);
    platform = await startTestPlatform();
    const code = { "server.mjs": server };
    const deployments = [
      { name: "s", code, envVars: { fprocess: "node server.mjs", mode: "http" } },
      { name: "single", code, envVars: { fprocess: "node server.mjs", mode: "http", max_inflight: "1" } },
      { name: "brief", code, envVars: { fprocess: "node server.mjs", mode: "http", exec_timeout: "1s" } },
      { name: "h", code: { "h.mjs": handler }, envVars: { mode: "handler", handler: "h.mjs" } },
      { name: "cat", code: { "x.sh": "cat\n" }, envVars: { fprocess: "sh x.sh", mode: "serializing" } },
    ];
    // What is looked into is the one process of a function, whatever its load.
    const labels = { "com.openfaas.scale.max": "1" };
    for (const fn of deployments.map((each) => ({ ...each, more: { labels } }))) {
      const response = await platform.deploy(fn);
      expect(response.status, await response.text()).to.equal(202);
    }
  });

  after(async () => {
    expect(await platform.stop()).to.equal(0);
  });

  const open = (path: string, headers: Record<string, string | number> = {}, method = "POST"): ClientRequest =>
    openRequest(`${platform.url}/function/${path}`, { method, headers });

  const readAll = async (response: IncomingMessage): Promise<Answered> => ({
    status: response.statusCode,
    headers: response.headers,
    body: await readBody(response),
  });

  const send = async (path: string, body: Uint8Array, headers: Record<string, string | number>): Promise<Answered> => {
    const request = open(path, headers);
    const answered = responseTo(request).then(readAll);
    for (let at = 0; at < body.length; at += 60_000)
      if (!request.write(body.subarray(at, at + 60_000))) await once(request, "drain");
    request.end();
    return answered;
  };

  for (const bytes of [1024, 256 * 1024, 256 * 1024 + 1, 1024 * 1024, 10 * 1024 * 1024])
    for (const framing of ["Content-Length", "chunked"])
      it(`an echo of ${bytes} bytes with ${framing} gives back what was sent`, async () => {
        const body = randomBytes(bytes);
        const headers: Record<string, number> = framing === "chunked" ? {} : { "Content-Length": bytes };
        const answer = await send("s/echo", body, headers);
        expect(answer.status).to.equal(200);
        expect(answer.body.length).to.equal(bytes);
        expect(digest(answer.body)).to.equal(digest(body));
        if (framing !== "chunked") expect(answer.headers["content-length"]).to.equal(String(bytes));
      });

  it("an upload larger than one message arrives whole at an http function", async () => {
    const body = randomBytes(20 * 1024 * 1024);
    const answer = await send("s/hash", body, { "Content-Length": body.length });
    expect(answer.body.toString()).to.equal(digest(body));
  });

  it("twenty at once do not disturb each other", async () => {
    const body = randomBytes(3 * 1024 * 1024);
    const answers = await Promise.all(Array.from({ length: 20 }, () => send("s/echo", body, {})));
    for (const answer of answers) expect(digest(answer.body)).to.equal(digest(body));
  });

  it("events come one by one as they are written, while the request is still open", async () => {
    const request = open("s/events");
    request.flushHeaders();
    const response = await responseTo(request);
    expect(response.headers["content-type"]).to.equal("text/event-stream");
    expect(await nextChunk(response)).to.equal("data: first\n\n");
    for (const word of ["one", "two", "three"]) {
      request.write(word);
      expect(await nextChunk(response)).to.equal(`data: ${word}\n\n`);
    }
    response.destroy();
  });

  const ask = async (path: string): Promise<number> => Number(await (await platform.invoke(path)).text());

  it("a client that does not read holds the function back, and gets every byte when it reads", async () => {
    const request = open("s/flood", {}, "GET");
    request.end();
    const response = await responseTo(request);
    let last = -1;
    const held = await eventually("the function is held back", async () => {
      const now = await ask("s/flooded");
      const isHeld = now > 0 && now === last;
      last = now;
      await new Promise((resolve) => setTimeout(resolve, 100));
      return isHeld ? now : undefined;
    });
    // Buffers of four sockets and two windows.
    expect(held).to.be.lessThan(32 * 1024 * 1024);
    let bytes = 0;
    for await (const chunk of response) {
      bytes += (chunk as Buffer).length;
      if (bytes > held + 8 * 1024 * 1024) break;
    }
    expect(bytes).to.be.greaterThan(held);
  });

  it("a client that goes away stops the function", async () => {
    const before = await ask("s/aborted");
    const request = open("s/events", {}, "GET");
    request.end();
    const response = await responseTo(request);
    await nextChunk(response);
    response.destroy();
    await eventually("the function is stopped", async () => (await ask("s/aborted")) > before || undefined);
  });

  it("a client that goes away in the middle of its upload stops the function", async () => {
    const before = await ask("s/aborted");
    const request = open("s/sink", { "Content-Length": 2_000_000 });
    request.write(randomBytes(600_000));
    await eventually("the call is in flight", async () => {
      const text = await (await fetch(platform.metricsUrl)).text();
      return /inflight\{function_name="s\.openfaas-fn"\} [1-9]/.test(text) || undefined;
    });
    request.destroy();
    await eventually("the function is stopped", async () => (await ask("s/aborted")) > before || undefined);
  });

  it("an upload that waits for 100 Continue gets it, and arrives whole", async () => {
    const body = randomBytes(1_000_000);
    const request = open("s/hash", { "Content-Length": body.length, Expect: "100-continue" });
    const answered = responseTo(request).then(readAll);
    request.flushHeaders();
    await once(request, "continue");
    request.end(body);
    expect((await answered).body.toString()).to.equal(digest(body));
  });

  for (const [what, command] of [
    ["gateway", "gateway/main"],
    ["nats-server", "nats-server"],
  ] as const)
    it(`a ${what} killed in mid-stream breaks the client's connection and stops the function`, async () => {
      const before = await ask("s/aborted");
      const request = open("s/events", {}, "GET");
      request.end();
      const response = await responseTo(request);
      await nextChunk(response);
      const broken = endOf(response);
      for (const pid of platform.pids(command)) process.kill(pid, "SIGKILL");
      expect(await broken).to.equal("ECONNRESET");
      await eventually("the function is stopped", async () => {
        const count = await ask("s/aborted").catch(() => 0);
        return count > before || undefined;
      });
    });

  it("an answer that the function breaks off breaks the client's connection", async () => {
    const request = open("s/short", {}, "GET");
    request.end();
    const response = await responseTo(request);
    expect(response.statusCode).to.equal(200);
    const code = await endOf(response);
    expect(code).to.equal("ECONNRESET");
  });

  it("a streamed answer at its deadline breaks the client's connection", async () => {
    const request = open("brief/events", {}, "GET");
    request.end();
    const response = await responseTo(request);
    const code = await endOf(response);
    expect(code).to.equal("ECONNRESET");
  });

  it("a stream holds its slot until it ends, and not longer", async () => {
    const request = open("single/events", {}, "GET");
    request.end();
    const response = await responseTo(request);
    await nextChunk(response);
    let isAnswered = false;
    const next = ask("single/aborted").then((count) => {
      isAnswered = true;
      return count;
    });
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(isAnswered).to.equal(false);
    response.destroy();
    expect(await next).to.equal(1);
  });

  it("leaves nothing behind after three hundred streams of every end", async function () {
    this.timeout(60_000);
    const pid = await ask("s/pid");
    const [watchdog] = platform.pids("watchdog").filter((candidate) => isParentOf(candidate, pid));
    const [gateway] = platform.pids("gateway/main");
    const descriptors = (): number[] => [watchdog, gateway].map((pid = 0) => descriptorsOf(pid));
    const round = async (): Promise<void> => {
      await send("s/echo", randomBytes(300_000), {});
      for (const path of ["s/events", "s/short"]) {
        const request = open(path, {}, "GET");
        request.end();
        const response = await responseTo(request);
        if (path === "s/short") await endOf(response);
        else response.destroy();
      }
    };
    await round();
    const before = descriptors();
    for (let count = 0; count < 20; count += 1) await Promise.all(Array.from({ length: 5 }, round));
    await eventually("no call is left", async () => {
      const text = await (await fetch(platform.metricsUrl)).text();
      return /inflight\{function_name="s\.openfaas-fn"\} 0\b/.test(text) || undefined;
    });
    await eventually(
      "sockets are closed",
      // Connections kept for reuse stay for a while: as many as calls were open at once.
      () => descriptors().every((count, at) => count <= (before[at] ?? 0) + 15) || undefined,
    );
  });

  it("an answer that comes before the end of the upload reaches the client", async () => {
    const answer = await send("s/early", randomBytes(1024 * 1024), {});
    expect([answer.status, answer.body.toString()]).to.deep.equal([403, "no"]);
  });

  it("a replica killed in mid-stream breaks the client's connection, and the function serves again", async () => {
    const pid = await ask("s/pid");
    const [watchdog] = platform.pids("watchdog").filter((candidate) => isParentOf(candidate, pid));
    const request = open("s/events", {}, "GET");
    request.end();
    const response = await responseTo(request);
    await nextChunk(response);
    const broken = endOf(response);
    process.kill(watchdog ?? 0, "SIGKILL");
    expect(await broken).to.equal("ECONNRESET");
    await eventually("the function serves again", async () => (await platform.invoke("s/pid")).ok || undefined);
  });

  const whole: readonly (readonly [string, string])[] = [
    ["a handler", "h"],
    ["a process in mode serializing", "cat"],
  ];
  for (const [what, name] of whole)
    it(`${what} gets a body of 1 MiB collected`, async () => {
      const body = Buffer.alloc(1024 * 1024, "a");
      const answer = await send(name, body, {});
      expect(answer.status).to.equal(200);
      expect(name === "h" ? answer.body.toString() : String(answer.body.length)).to.equal("1048576");
    });
});
