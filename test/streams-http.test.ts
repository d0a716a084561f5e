import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { brotliDecompressSync, gunzipSync, gzipSync } from "node:zlib";
import { expect } from "chai";
import { digest, endOf, getResponse, openRaw, openRequest, readBody, responseTo } from "./support/http.ts";
import { eventually, startTestPlatform, type TestPlatform, untilInFlight } from "./support/platform.ts";

/*
 * What HTTP has besides a status and a body, through a whole platform (issue 3): methods, ranges, trailers, encodings,
 * interim answers, old clients, wrong lengths, and connections that are used again.
 */

const code = {
  "server.mjs": readFileSync(fileURLToPath(new URL("fixtures/http-function.mjs", import.meta.url)), "utf8"),
};
const http = { fprocess: "node server.mjs", mode: "http" };

interface State {
  readonly aborted: number;
  readonly open: number;
}

const numbered = Buffer.alloc(3_000_000);
for (let at = 0; at + 4 <= numbered.length; at += 4) numbered.writeUInt32BE(at, at);

const chunk = (bytes: string, extension = ""): string =>
  `${Buffer.byteLength(bytes, "latin1").toString(16)}${extension}\r\n${bytes}\r\n`;

describe("HTTP through a whole platform", function () {
  this.timeout(60_000);
  let platform: TestPlatform;

  before(async function () {
    this.timeout(60_000);
    platform = await startTestPlatform();
    const deployments = [
      { name: "f", code, envVars: { ...http, max_inflight: "0" } },
      { name: "single", code, envVars: { ...http, max_inflight: "1" } },
      { name: "brief", code, envVars: { ...http, exec_timeout: "1s" } },
      { name: "sh", code: { "x.sh": "head -c 2000000 /dev/zero\n" }, envVars: { fprocess: "sh x.sh" } },
      {
        name: "h",
        code: {
          "h.mjs":
            "export default async ({ query }) => ({ status: Number(query.status), headers: { 'Content-Length': '5' }, body: 'hello' });",
        },
        envVars: { mode: "handler", handler: "h.mjs" },
      },
    ];
    for (const fn of deployments) {
      const response = await platform.deploy(fn);
      expect(response.status, await response.text()).to.equal(202);
    }
  });
  after(async () => {
    expect(await platform.stop()).to.equal(0);
  });

  const urlOf = (path: string): string => `${platform.url}/function/${path}`;
  const get = (path: string, headers: Record<string, string> = {}, method = "GET"): Promise<IncomingMessage> =>
    getResponse(urlOf(path), { method, headers });
  const raw = () => openRaw(platform.url);
  const state = async (name = "f"): Promise<State> => (await (await platform.invoke(`${name}/state`)).json()) as State;
  const head = (line: string, ...headers: readonly string[]): string =>
    [`${line} HTTP/1.1`, "Host: a", ...headers, "\r\n"].join("\r\n");

  describe("HEAD", () => {
    for (const [what, path, length] of [
      ["small", "f/hello", undefined],
      ["large", "f/range", "3000000"],
      ["streamed", "f/compressed?kind=gzip&bytes=3000000", undefined],
      ["a process's", "sh", undefined],
    ] as const)
      it(`of ${what} answers has the length that is said, no body, and leaves the connection usable`, async () => {
        const { socket, answer } = await raw();
        socket.write(head(`HEAD /function/${path}`));
        const bare = await answer(false);
        expect([bare.status, /^content-length: (\d+)\r$/im.exec(bare.head)?.[1]]).to.deep.equal([200, length]);
        socket.write(head("GET /function/f/hello"));
        expect(await answer()).to.include({ status: 200, body: "GET /hello" });
        socket.destroy();
      });

    it("of a path that is not there has the length of what would be said", async () => {
      const response = await get("nobody", {}, "HEAD");
      expect([response.statusCode, (await readBody(response)).length]).to.deep.equal([404, 0]);
    });
  });

  it("ranges are the function's own: a part, a large part, and none beyond the end", async () => {
    for (const [from, to] of [
      [10, 19],
      [5, 2_900_000],
      [2_999_990, undefined],
    ] as const) {
      const response = await get("f/range", { Range: `bytes=${from}-${to ?? ""}` });
      const last = to ?? numbered.length - 1;
      expect([response.statusCode, response.headers["content-range"]]).to.deep.equal([
        206,
        `bytes ${from}-${last}/${numbered.length}`,
      ]);
      expect(digest(await readBody(response))).to.equal(digest(numbered.subarray(from, last + 1)));
    }
    const beyond = await get("f/range", { Range: "bytes=3000000-" });
    expect([beyond.statusCode, beyond.headers["content-range"], (await readBody(beyond)).length]).to.deep.equal([
      416,
      "bytes */3000000",
      0,
    ]);
  });

  // No part of the wire carries them: a body's end says nothing else. They are dropped, as a proxy may (RFC 9110 §6.5.1).
  for (const bytes of [10, 600_000]) {
    it(`trailers of a request of ${bytes} bytes are dropped, and the body is whole`, async () => {
      const { socket, answer } = await raw();
      const body = "t".repeat(bytes);
      socket.write(head("POST /function/f/seen", "Transfer-Encoding: chunked", "Trailer: X-Sum", "TE: trailers"));
      socket.write(`${chunk(body)}0\r\nX-Sum: 1\r\n\r\n`);
      const { body: text } = await answer();
      const seen = JSON.parse(text) as Record<string, Record<string, string>>;
      expect([seen["bytes"], seen["trailers"]]).to.deep.equal([bytes, {}]);
      expect(seen["headers"]).to.not.have.any.keys("trailer", "te", "x-sum");
      socket.destroy();
    });

    it(`trailers of an answer of ${bytes} bytes are dropped, and the body is whole`, async () => {
      const response = await get(`f/trailers?bytes=${bytes}`);
      expect((await readBody(response)).length).to.equal(bytes);
      expect([response.headers["trailer"], response.trailers]).to.deep.equal([undefined, {}]);
    });
  }

  for (const bytes of [1000, 3_000_000])
    for (const kind of ["gzip", "br"] as const)
      it(`an answer of ${bytes} bytes in ${kind} arrives as it was compressed`, async () => {
        const response = await get(`f/compressed?kind=${kind}&bytes=${bytes}`, { "Accept-Encoding": kind });
        expect(response.headers).to.include({ "content-encoding": kind, vary: "Accept-Encoding" });
        const restore = { gzip: gunzipSync, br: brotliDecompressSync }[kind];
        expect(digest(restore(await readBody(response)))).to.equal(digest(numbered.subarray(0, bytes)));
      });

  it("a compressed upload arrives as it was compressed, small and large", async () => {
    for (const bytes of [1000, 2_000_000]) {
      const plain = randomBytes(bytes);
      const body = gzipSync(plain);
      const request = openRequest(urlOf("f/echo"), {
        headers: { "Content-Encoding": "gzip", "Content-Length": body.length },
      });
      const responded = responseTo(request);
      request.end(body);
      const response = await responded;
      expect(response.headers["content-encoding"]).to.equal("gzip");
      expect(digest(gunzipSync(await readBody(response)))).to.equal(digest(plain));
    }
  });

  describe("Expect: 100-continue", () => {
    const expecting = (path: string, length: number | "chunked"): string =>
      head(
        `POST /function/${path}`,
        "Expect: 100-continue",
        length === "chunked" ? "Transfer-Encoding: chunked" : `Content-Length: ${length}`,
      );

    for (const [what, length] of [
      ["a whole body", 1000],
      ["a streamed body", 1_000_000],
      ["a chunked body", "chunked"],
    ] as const)
      it(`${what} is asked for, and arrives whole`, async () => {
        const { socket, answer } = await raw();
        socket.write(expecting("f/hash", length));
        expect((await answer()).status).to.equal(100);
        const body = "e".repeat(length === "chunked" ? 500_000 : length);
        socket.write(length === "chunked" ? `${chunk(body)}0\r\n\r\n` : body);
        expect((await answer()).body).to.equal(digest(Buffer.from(body)));
        socket.destroy();
      });

    for (const [what, path, length, status] of [
      ["a function that is not there", "nobody", 1_000_000, 404],
      ["a method that is not taken", "f", 100, 405],
    ] as const)
      it(`${what} is said before the body is asked for, and the connection ends`, async () => {
        const { socket, take, closed } = await raw();
        const text = expecting(path, length);
        socket.write(status === 405 ? text.replace("POST", "PROPFIND") : text);
        expect(await take(/\r\n\r\n/)).to.match(new RegExp(`^HTTP/1\\.1 ${status} .*Connection: close\r\n`, "s"));
        expect(await closed).to.equal("end");
        socket.destroy();
      });

    it("a streamed body is not asked for while its call waits in line", async () => {
      const holding = await getResponse(urlOf("single/stream"));
      const { socket, answer, text } = await raw();
      socket.write(expecting("single/hash", 1_000_000));
      await eventually("it waits", async () => {
        const metrics = await (await fetch(platform.metricsUrl)).text();
        return metrics.includes('waiting{function_name="single.openfaas-fn"} 1') || undefined;
      });
      expect(text()).to.equal("");
      holding.destroy();
      expect((await answer()).status).to.equal(100);
      socket.write("e".repeat(1_000_000));
      expect((await answer()).body).to.equal(digest(Buffer.alloc(1_000_000, "e")));
      socket.destroy();
    });

    it("the API asks for a body when it knows who sends it", async () => {
      const { socket, answer } = await raw();
      const ask = (authorization: string): string =>
        head("POST /system/functions", "Expect: 100-continue", `Authorization: ${authorization}`, "Content-Length: 2");
      socket.write(ask(platform.authorization));
      expect((await answer()).status).to.equal(100);
      socket.write("{}");
      expect((await answer()).status).to.equal(400);
      socket.write(ask("Basic bm86Ym9keQ=="));
      expect((await answer()).status).to.equal(401);
      socket.destroy();
    });

    it("a body that is too large is refused before it is asked for", async () => {
      const small = await startTestPlatform({ BUSKER_MAX_BODY_BYTES: "1000" });
      try {
        const deployed = await small.deploy({ name: "f", code, envVars: http });
        expect(deployed.status, await deployed.text()).to.equal(202);
        const { socket, answer, closed } = await openRaw(small.url);
        socket.write(expecting("f/hash", 1001));
        expect((await answer()).status).to.equal(413);
        expect(await closed).to.equal("end");
        socket.destroy();
      } finally {
        await small.stop();
      }
    }).timeout(40_000);
  });

  describe("a client of HTTP/1.0", () => {
    const ask = async (path: string) => {
      const connection = await raw();
      connection.socket.write(`GET /function/${path} HTTP/1.0\r\nHost: a\r\n\r\n`);
      return connection;
    };

    it("gets an answer of unknown length, whose end is the connection's", async () => {
      const { socket, take, closed, text } = await ask("f/unknown-length");
      const first = await take(/\r\n\r\n/);
      expect(first).to.match(/^HTTP\/1\.1 200 /);
      expect(first.toLowerCase()).to.not.include("transfer-encoding");
      expect(await closed).to.equal("end");
      expect(text()).to.equal(`${"x".repeat(400_000)}end`);
      socket.destroy();
    });

    it("gets a reset where the answer breaks off, because an end would look complete", async () => {
      const { take, closed } = await ask("f/breaks");
      expect(await take(/\r\n\r\n/)).to.match(/^HTTP\/1\.1 200 /);
      expect(await closed).to.equal("ECONNRESET");
    });

    it("sends a body and gets a small answer with its length", async () => {
      const { socket, answer } = await raw();
      socket.write("POST /function/f/hash HTTP/1.0\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
      expect((await answer()).body).to.equal(digest(Buffer.from("body")));
      socket.destroy();
    });
  });

  it("a connection is used again after a stream in either direction", async () => {
    const { socket, answer } = await raw();
    const body = "k".repeat(500_000);
    for (let round = 0; round < 3; round += 1) {
      socket.write(head("POST /function/f/hash", `Content-Length: ${body.length}`) + body);
      expect((await answer()).body).to.equal(digest(Buffer.from(body)));
      socket.write(head("GET /function/f/unknown-length"));
      expect((await answer()).body).to.equal(`${"x".repeat(400_000)}end`);
      socket.write(`${head("POST /function/f/echo", "Transfer-Encoding: chunked")}${chunk(body)}0\r\n\r\n`);
      expect((await answer()).body).to.equal(body);
      socket.write(head("GET /function/f/hello"));
      expect((await answer()).body).to.equal("GET /hello");
    }
    socket.destroy();
  });

  it("chunks with extensions arrive without them", async () => {
    const { socket, answer } = await raw();
    socket.write(head("POST /function/f/echo", "Transfer-Encoding: chunked"));
    socket.write(`${chunk("one ", ";a=b")}${chunk("two", ';c="d;e"')}`);
    await pause(20);
    socket.write(`${chunk(" three", ";x")}0;last\r\n\r\n`);
    expect((await answer()).body).to.equal("one two three");
    socket.destroy();
  });

  describe("a body that is not as long as its head says", () => {
    it("shorter, small: the call never reaches the function, and the client is told", async () => {
      const before = await state();
      const { socket, take } = await raw();
      socket.end(`${head("POST /function/f/sink", "Content-Length: 10")}short`);
      expect(await take(/\r\n\r\n/)).to.match(/^HTTP\/1\.1 400 /);
      await untilInFlight(platform, "f", 0);
      expect((await state()).aborted).to.equal(before.aborted);
      socket.destroy();
    });

    it("shorter, streamed: the function's request breaks off", async () => {
      const before = await state();
      const { socket, closed } = await raw();
      socket.end(head("POST /function/f/sink", "Content-Length: 1000000") + "x".repeat(500_000));
      await closed;
      await eventually("the function is told", async () => (await state()).aborted === before.aborted + 1 || undefined);
      await untilInFlight(platform, "f", 0);
      socket.destroy();
    });

    for (const framing of ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
      it(`shorter, with an answer that has begun (${framing}): nothing is written into it`, async () => {
        const { socket, take, closed, text } = await raw();
        const part = "x".repeat(500_000);
        socket.write(head("POST /function/f/stream", framing) + (framing.startsWith("T") ? chunk(part) : part));
        await take(/began\r\n/);
        socket.end();
        await closed;
        expect(text()).to.equal("");
        await untilInFlight(platform, "f", 0);
        socket.destroy();
      });

    it("a chunk that is none, with an answer that has begun: nothing is written into it, and the call ends", async () => {
      const { socket, take, closed, text } = await raw();
      socket.write(`${head("POST /function/f/stream", "Transfer-Encoding: chunked")}${chunk("x")}`);
      await take(/began\r\n/);
      socket.write("zz\r\n");
      await closed;
      expect(text()).to.equal("");
      await untilInFlight(platform, "f", 0);
      socket.destroy();
    });

    for (const framing of ["Content-Length", "chunked"])
      it(`longer, with ${framing}: what is too much is not taken for the answer's or the next request`, async () => {
        const { socket, answer, closed } = await raw();
        const first =
          framing === "chunked"
            ? `${head("POST /function/f/echo", "Transfer-Encoding: chunked")}${chunk("body")}0\r\n\r\n`
            : `${head("POST /function/f/echo", "Content-Length: 4")}body`;
        socket.write(`${first}{"more": true}\r\n\r\n`);
        expect(await answer()).to.include({ status: 200, body: "body" });
        expect((await answer()).status).to.equal(400);
        expect(await closed).to.equal("end");
        socket.destroy();
      });

    it("a request that is none ends the connection, though its client would keep its half", async () => {
      const { socket, answer, closed } = await raw();
      socket.write("nonsense\r\n\r\n");
      expect((await answer()).status).to.equal(400);
      await closed;
      await eventually("a write fails", () => socket.destroyed || !socket.write("more") || undefined);
    });
  });

  it("requests in a row without waiting are answered in their order, streams among them", async () => {
    const { socket, answer } = await raw();
    const body = "p".repeat(400_000);
    const first = head("GET /function/f/poll?ms=300") + head("GET /function/f/unknown-length");
    socket.write(`${first}${head("POST /function/f/hash", `Content-Length: ${body.length}`)}${body}`);
    socket.write(head("GET /function/f/hello"));
    expect((await answer()).body).to.equal("at last");
    expect((await answer()).body).to.equal(`${"x".repeat(400_000)}end`);
    expect((await answer()).body).to.equal(digest(Buffer.from(body)));
    expect((await answer()).body).to.equal("GET /hello");
    socket.destroy();
  });

  it("a client that goes away with several requests open ends all their calls", async () => {
    const { socket, take } = await raw();
    const { open } = await state();
    socket.write(head("GET /function/f/stream").repeat(3));
    await take(/began\r\n/);
    await eventually("all have begun", async () => (await state()).open === open + 3 || undefined);
    const beganMs = Date.now();
    socket.destroy();
    await eventually("all have ended", async () => (await state()).open === open || undefined);
    await untilInFlight(platform, "f", 0);
    expect(Date.now() - beganMs).to.be.lessThan(10_000);
  });

  it("a long poll that is silent for three seconds is answered", async () => {
    const response = await get("f/poll?ms=3000");
    expect((await readBody(response)).toString()).to.equal("at last");
  });

  it("an answer without a body has none, whatever its head says, and its connections stay sound", async () => {
    for (let round = 0; round < 5; round += 1) {
      const none = await get("f/no-content");
      expect([none.statusCode, none.headers["x-kind"], (await readBody(none)).length]).to.deep.equal([204, "none", 0]);
      // Behind it the function writes on: its connection must not carry this one.
      expect((await readBody(await get("f/poll?ms=100"))).toString()).to.equal("at last");
      const same = await get("f/not-modified");
      expect([same.statusCode, same.headers["etag"], (await readBody(same)).length]).to.deep.equal([304, '"a"', 0]);
    }
  });

  it("a 204 has no length, because there is nothing to count", async () => {
    const response = await get("h?status=204");
    expect([response.statusCode, response.headers["content-length"]]).to.deep.equal([204, undefined]);
    expect((await readBody(response)).length).to.equal(0);
  });

  // An interim answer is its connection's, and the bus has no place for it: it is dropped (RFC 9110 §15.2).
  it("early hints of a function are dropped, and its answer arrives", async () => {
    const { socket, answer } = await raw();
    socket.write(head("GET /function/f/hints"));
    expect(await answer()).to.include({ status: 200, body: "hinted" });
    socket.destroy();
  });

  it("a client that sends a byte every 10 ms is understood, head and body", async () => {
    const { socket, answer } = await raw();
    for (const byte of `${head("POST /function/f/echo", "Content-Length: 20")}${"s".repeat(20)}`) {
      socket.write(byte);
      await pause(10);
    }
    expect((await answer()).body).to.equal("s".repeat(20));
    socket.write(head("POST /function/f/echo", "Transfer-Encoding: chunked"));
    for (let at = 0; at < 50; at += 1) {
      socket.write("1\r\nc\r\n");
      await pause(10);
    }
    socket.write("0\r\n\r\n");
    expect((await answer()).body).to.equal("c".repeat(50));
    socket.destroy();
  });

  it("an answer of a byte every 10 ms arrives byte by byte", async () => {
    const response = await get("f/drip?n=100");
    let parts = 0;
    let bytes = 0;
    for await (const part of response) {
      parts += 1;
      bytes += (part as Buffer).length;
    }
    expect(bytes).to.equal(100);
    expect(parts).to.be.above(30);
  });

  it("a function that answers before it has read leaves the client's connection usable", async () => {
    const { socket, answer } = await raw();
    const body = "r".repeat(600_000);
    socket.write(head("POST /function/f/refuse", `Content-Length: ${body.length}`) + body);
    expect(await answer()).to.include({ status: 403, body: "no" });
    socket.write(head("GET /function/f/hello"));
    expect((await answer()).body).to.equal("GET /hello");
    socket.destroy();
  });

  it("a streamed answer that its deadline breaks off is a reset to HTTP/1.0 and a broken body to HTTP/1.1", async () => {
    const old = await raw();
    old.socket.write("GET /function/brief/stream HTTP/1.0\r\nHost: a\r\n\r\n");
    const response = await get("brief/stream");
    expect(await endOf(response)).to.equal("ECONNRESET");
    expect(await old.closed).to.equal("ECONNRESET");
  });
});
