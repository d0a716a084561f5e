import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { fileURLToPath } from "node:url";
import { expect } from "chai";
import { digest, openRaw } from "./support/http.ts";
import { eventually, startTestPlatform, type TestPlatform, untilInFlight } from "./support/platform.ts";
import { descriptorsOf, isParentOf } from "./support/processes.ts";
import { opcodes, openWebSocket, type TestWebSocket, type WebSocketRequest } from "./support/websocket.ts";

/*
 * WebSockets with a function, through a whole platform (issue 3): what they carry, and how they end.
 */

interface Stats {
  readonly open: number;
  readonly ended: number;
  readonly closed: number;
  readonly sent: number;
  readonly received: number;
  readonly pid: number;
}

const code = {
  "server.mjs": readFileSync(fileURLToPath(new URL("fixtures/websocket-function.mjs", import.meta.url)), "utf8"),
};
const http = { fprocess: "node server.mjs", mode: "http" };

const closeCode = (status: number): Buffer => Buffer.from([status >> 8, status & 255]);
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe("WebSockets", function () {
  this.timeout(60_000);
  let platform: TestPlatform;
  const opened: TestWebSocket[] = [];

  before(async function () {
    this.timeout(60_000);
    platform = await startTestPlatform();
    const deployments = [
      { name: "ws", code, envVars: { ...http, max_inflight: "0" } },
      { name: "single", code, envVars: { ...http, max_inflight: "1" } },
      { name: "stalled", code, envVars: { ...http, exec_timeout: "3s" } },
      { name: "brief", code, envVars: { ...http, exec_timeout: "1s" } },
      {
        name: "h",
        code: { "h.mjs": "export default async (event) => `${event.method} ${event.body.length}`;" },
        envVars: { mode: "handler", handler: "h.mjs" },
      },
      { name: "sh", code: { "x.sh": "cat; echo done\n" }, envVars: { fprocess: "sh x.sh" } },
      { name: "files", code: { "index.html": "a page" }, envVars: { mode: "static", static_path: "." } },
    ];
    // What is looked into is the one process of a function, whatever its load.
    const labels = { "com.openfaas.scale.max": "1" };
    for (const fn of deployments.map((each) => ({ ...each, more: { labels } }))) {
      const response = await platform.deploy(fn);
      expect(response.status, await response.text()).to.equal(202);
    }
  });
  afterEach(() => {
    for (const { socket } of opened.splice(0)) socket.destroy();
  });
  after(async () => {
    expect(await platform.stop()).to.equal(0);
  });

  const open = async (path: string, more: Omit<WebSocketRequest, "url"> = {}): Promise<TestWebSocket> => {
    const client = await openWebSocket({ url: `${platform.url}/function/${path}`, ...more });
    opened.push(client);
    return client;
  };
  const accepted = async (path: string, more: Omit<WebSocketRequest, "url"> = {}): Promise<TestWebSocket> => {
    const client = await open(path, more);
    expect(client.status).to.equal(101);
    return client;
  };
  const nextText = async (client: TestWebSocket): Promise<string> => (await client.next()).payload.toString();
  const stats = async (name = "ws"): Promise<Stats> => (await (await platform.invoke(`${name}/stats`)).json()) as Stats;
  const metrics = async (): Promise<string> => (await fetch(platform.metricsUrl)).text();
  const finished = async (name: string, status: number): Promise<number> =>
    Number(
      new RegExp(`invocation_total\\{function_name="${name}\\.openfaas-fn",code="${status}"\\} (\\d+)`).exec(
        await metrics(),
      )?.[1] ?? 0,
    );
  const noneOpen = (name = "ws", withinMs?: number): Promise<Stats> =>
    eventually(
      "the function's sockets are closed",
      async () => {
        const now = await stats(name).catch(() => undefined);
        return now?.open === 0 ? now : undefined;
      },
      withinMs,
    );

  it("text and binary messages come back as they were sent, one by one", async () => {
    const client = await accepted("ws/echo");
    expect(client.headers.get("upgrade")).to.equal("websocket");
    expect(client.headers.get("connection")).to.equal("Upgrade");
    expect(client.headers.get("x-call-id")).to.match(/^[0-9a-f-]{36}$/);
    for (const words of ["", "a", "häß€🎷", "x".repeat(70_000)]) {
      client.send(opcodes.text, words);
      const { opcode, payload } = await client.next();
      expect([opcode, payload.toString()]).to.deep.equal([opcodes.text, words]);
    }
    client.send(opcodes.binary, Buffer.from([0, 255, 10, 13]));
    expect(await client.next()).to.deep.equal({ opcode: opcodes.binary, payload: Buffer.from([0, 255, 10, 13]) });
  });

  it("a message in fragments with a ping between them arrives whole, and the ping is answered", async () => {
    const client = await accepted("ws/echo");
    client.send(opcodes.text, "one ", false);
    client.send(0, "two ", false);
    client.send(opcodes.ping, "p");
    client.send(0, "three");
    expect(await client.next()).to.deep.equal({ opcode: opcodes.pong, payload: Buffer.from("p") });
    expect(await nextText(client)).to.equal("one two three");
  });

  it("a function's ping reaches the client, and the pong the function", async () => {
    const client = await accepted("ws/ping");
    const { opcode, payload } = await client.next();
    expect([opcode, payload.toString()]).to.deep.equal([opcodes.ping, "are you there"]);
    client.send(opcodes.pong, payload);
    expect(await nextText(client)).to.equal("pong are you there");
  });

  it("a client's close code reaches the function, and its answer the client, and the call counts as 101", async () => {
    const before = await finished("ws", 101);
    const client = await accepted("ws/echo");
    client.send(opcodes.close, closeCode(4321));
    expect(await client.next()).to.deep.equal({ opcode: opcodes.close, payload: closeCode(4321) });
    expect(await client.closed).to.deep.equal(Buffer.alloc(0));
    await noneOpen();
    await eventually("it is counted", async () => (await finished("ws", 101)) > before || undefined);
  });

  it("a function's close code reaches the client", async () => {
    const client = await accepted("ws/bye?4001");
    expect(await client.next()).to.deep.equal({ opcode: opcodes.close, payload: closeCode(4001) });
    client.send(opcodes.close, closeCode(4001));
    await client.next();
    await client.closed;
  });

  it("10 MiB of random messages come back byte for byte", async () => {
    const client = await accepted("ws/echo");
    const sent: string[] = [];
    const send = async (): Promise<void> => {
      for (let bytes = 10 * 1024 * 1024; bytes > 0;) {
        const message = randomBytes(1 + Math.floor(Math.random() * Math.min(bytes, 500_000)));
        bytes -= message.length;
        sent.push(digest(message));
        if (!client.send(opcodes.binary, message)) await once(client.socket, "drain");
      }
    };
    const sending = send();
    let at = 0;
    for (let bytes = 0; bytes < 10 * 1024 * 1024; at += 1) {
      const { payload } = await client.next();
      bytes += payload.length;
      expect(digest(payload)).to.equal(sent[at]);
    }
    await sending;
    expect(at).to.equal(sent.length);
  });

  it("messages right behind either head arrive", async () => {
    const client = await accepted("ws/hello", { early: { opcode: opcodes.text, payload: "early" } });
    expect([await nextText(client), await nextText(client)]).to.deep.equal(["hello", "early"]);
  });

  it("what the client sends before it is answered waits until the function has accepted", async () => {
    const client = await accepted("ws/late", { early: { opcode: opcodes.text, payload: "early" } });
    expect([await nextText(client), await nextText(client)].toSorted()).to.deep.equal(["early", "saw 0"]);
  });

  it("what the client sends before it is refused never reaches the function", async () => {
    const client = await open("ws/late?no", { early: { opcode: opcodes.text, payload: "early" } });
    expect([client.status, (await client.closed).toString()]).to.deep.equal([403, "saw 0"]);
  });

  it("the handshake reaches the function as it was sent", async () => {
    const protocol = "Sec-WebSocket-Protocol: chat, other";
    const client = await open("ws/request?a=%20b", { headers: [protocol, "X-Own: 1", "Cookie: c=d"] });
    expect(client.status).to.equal(200);
    const [url, raw] = JSON.parse((await client.closed).toString()) as [string, string[]];
    expect(url).to.equal("/request?a=%20b");
    for (const pair of ["Sec-WebSocket-Protocol: chat, other", "X-Own: 1", "Cookie: c=d", "Sec-WebSocket-Version: 13"])
      expect(raw.some((name, at) => at % 2 === 0 && `${name}: ${raw[at + 1]}` === pair, pair)).to.equal(true);
    const names = raw.filter((_, at) => at % 2 === 0);
    expect(names.filter((name) => /^(connection|upgrade)$/i.test(name))).to.deep.equal(["Connection", "Upgrade"]);
    expect(names.some((name) => /^(content-length|transfer-encoding)$/i.test(name))).to.equal(false);
    const chat = await accepted("ws/echo", { headers: [protocol] });
    expect(chat.headers.get("sec-websocket-protocol")).to.equal("chat");
  });

  const ordinary: readonly (readonly [string, string, number, string])[] = [
    ["a function's refusal", "ws/refuse", 426, "not like this"],
    ["a function that is not there", "nobody", 404, "there is no function nobody\n"],
    ["a handler", "h", 200, "GET 0"],
    ["a process", "sh", 200, "done\n"],
    ["a folder", "files", 200, "a page"],
    ["the watchdog's own path", "ws/_/health", 200, "OK"],
    [
      "a switch to another protocol",
      "ws/other",
      502,
      'the function gave a malformed HTTP response: it switches to the protocol "h2c" without having been asked\n',
    ],
  ];
  for (const [what, path, status, body] of ordinary)
    it(`${what} answers as ordinary HTTP, and the connection ends`, async () => {
      const client = await open(path, { early: { opcode: opcodes.text, payload: "nobody reads this" } });
      const got = (await client.closed).toString();
      const isChunked = client.headers.get("transfer-encoding") === "chunked";
      const whole = isChunked ? `${Buffer.byteLength(body).toString(16)}\r\n${body}\r\n0\r\n\r\n` : body;
      expect([client.status, got]).to.deep.equal([status, whole]);
      expect(client.headers.get("connection")).to.equal("close");
    });

  it("a request for the API is no WebSocket", async () => {
    const client = await openWebSocket({ url: `${platform.url}/system/functions` });
    opened.push(client);
    expect(client.status).to.equal(401);
  });

  for (const name of ["ws/echo", "h"])
    it(`${name} serves a request that would rather be h2c, body included`, async () => {
      const { socket, answer } = await openRaw(platform.url);
      const head = `POST /function/${name} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n`;
      for (const body of [
        "Content-Length: 4\r\n\r\nbody",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
      ]) {
        socket.write(head + body);
        expect(await answer()).to.include({ status: 200, body: name === "h" ? "POST 4" : "body" });
      }
      socket.destroy();
    });

  it("a client that does not read holds the function back, and gets every byte when it reads", async () => {
    const client = await accepted("ws/flood");
    client.socket.pause();
    let last = -1;
    const held = await eventually("the function is held back", async () => {
      const { sent } = await stats();
      const isHeld = sent > 0 && sent === last;
      last = sent;
      await pause(100);
      return isHeld ? sent : undefined;
    });
    // Buffers of four sockets and two windows.
    expect(held).to.be.lessThan(32 * 1024 * 1024);
    client.socket.resume();
    for (let bytes = 0; bytes < held + 8 * 1024 * 1024;) {
      const { payload } = await client.next();
      bytes += payload.length;
    }
  });

  it("a function that does not read holds the client back, until its deadline", async () => {
    const client = await accepted("stalled/stall");
    let taken = 0;
    const piece = Buffer.alloc(65_536);
    const write = (): void => {
      client.socket.write(piece, (error) => {
        if (error) return;
        taken += piece.length;
        write();
      });
    };
    write();
    let last = -1;
    await eventually("the client is held back", async () => {
      const isHeld = taken > 0 && taken === last;
      last = taken;
      await pause(200);
      return isHeld || undefined;
    });
    expect(taken).to.be.lessThan(32 * 1024 * 1024);
    await client.closed;
    await untilInFlight(platform, "stalled", 0);
  });

  it("all that a function has written before it ended its socket arrives", async () => {
    const client = await accepted("ws/end");
    client.socket.pause();
    await pause(100);
    client.socket.resume();
    expect((await client.next()).payload.length).to.equal(3_000_000);
    await client.closed;
  });

  for (const [what, leave] of [
    ["closes its connection", (client: TestWebSocket) => client.socket.destroy()],
    ["resets its connection", (client: TestWebSocket) => client.socket.resetAndDestroy()],
  ] as const)
    it(`a client that ${what} closes the function's socket at once`, async () => {
      const before = await stats();
      const client = await accepted("ws/echo");
      leave(client);
      const beganMs = Date.now();
      await eventually("it is closed", async () => (await stats()).closed > before.closed || undefined);
      expect(Date.now() - beganMs).to.be.lessThan(8000);
      await untilInFlight(platform, "ws", 0);
    });

  it("a client that sends nothing more gets what the function still has to say", async () => {
    const client = await accepted("ws/echo");
    client.send(opcodes.text, "last words");
    client.socket.end();
    expect(await nextText(client)).to.equal("last words");
    await client.closed;
  });

  it("a function that does not notice its client's end does not keep its call", async () => {
    const client = await accepted("single/lazy");
    const beganMs = Date.now();
    client.socket.destroy();
    await untilInFlight(platform, "single", 0);
    expect(Date.now() - beganMs).to.be.lessThan(8000);
  });

  it("a function that drops its socket breaks the client's connection", async () => {
    const client = await accepted("ws/echo");
    client.send(opcodes.text, "drop");
    expect(await client.closed).to.deep.equal(Buffer.alloc(0));
  });

  it("a socket at its deadline is closed on both sides", async () => {
    const client = await accepted("brief/echo");
    const beganMs = Date.now();
    await client.closed;
    expect(Date.now() - beganMs).to.be.within(500, 8000);
    await noneOpen("brief");
    await eventually("it is counted", async () => (await finished("brief", 504)) === 1 || undefined);
  });

  it("a socket holds its slot until it ends, and not longer", async () => {
    const client = await accepted("single/echo");
    let isAnswered = false;
    const next = stats("single").then((now) => {
      isAnswered = true;
      return now;
    });
    await pause(100);
    expect(isAnswered).to.equal(false);
    client.socket.destroy();
    expect((await next).ended).to.equal(1);
  });

  it("a request for a WebSocket behind one that is not answered yet ends the connection and both calls", async () => {
    const { hostname, port } = new URL(platform.url);
    const socket = connect(Number(port), hostname);
    const upgrade = "HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n";
    socket.write("POST /function/ws/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    socket.write(`GET /function/ws/late ${upgrade}GET /function/ws/late ${upgrade}`);
    socket.resume();
    await once(socket, "close");
    await untilInFlight(platform, "ws", 0);
    await accepted("ws/echo");
  });

  it("a client that goes away while its request waits in line leaves the line", async () => {
    const holding = await accepted("single/echo");
    const { hostname, port } = new URL(platform.url);
    const waiting = connect(Number(port), hostname);
    waiting.write(
      "GET /function/single/echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n",
    );
    const inLine = (count: number) =>
      eventually(
        `${count} wait`,
        async () => (await metrics()).includes(`waiting{function_name="single.openfaas-fn"} ${count}`) || undefined,
      );
    await inLine(1);
    waiting.destroy();
    await inLine(0);
    holding.socket.destroy();
    await untilInFlight(platform, "single", 0);
  });

  it("leaves nothing behind after a hundred sockets at once of every end", async function () {
    this.timeout(60_000);
    const { pid } = await stats();
    const [watchdog] = platform.pids("watchdog").filter((candidate) => isParentOf(candidate, pid));
    const [gateway] = platform.pids("gateway/main");
    const descriptors = (): number[] => [watchdog, gateway, pid].map((process = 0) => descriptorsOf(process));
    const before = descriptors();
    const clients = await Promise.all(Array.from({ length: 100 }, () => accepted("ws/echo")));
    expect((await stats()).open).to.equal(100);
    await Promise.all(
      clients.map(async (client, number) => {
        const message = randomBytes(1 + number * 1000);
        client.send(opcodes.binary, message);
        expect(digest((await client.next()).payload)).to.equal(digest(message));
      }),
    );
    const ends: readonly ((client: TestWebSocket) => unknown)[] = [
      (client) => client.send(opcodes.close, closeCode(1000)),
      (client) => client.send(opcodes.text, "drop"),
      (client) => client.socket.end(),
      (client) => client.socket.resetAndDestroy(),
    ];
    for (const [number, client] of clients.entries()) ends[number % ends.length]?.(client);
    await Promise.all(clients.map(({ closed }) => closed));
    await noneOpen();
    await untilInFlight(platform, "ws", 0);
    await eventually(
      "sockets are closed",
      // Connections kept for reuse stay for a while.
      () => descriptors().every((count, at) => count <= (before[at] ?? 0) + 5) || undefined,
    );
  });

  for (const [what, command] of [
    ["gateway", "gateway/main"],
    ["nats-server", "nats-server"],
  ] as const)
    it(`a ${what} killed under a socket closes it on both sides, and sockets open again`, async () => {
      const client = await accepted("ws/echo");
      for (const pid of platform.pids(command)) process.kill(pid, "SIGKILL");
      await client.closed;
      await noneOpen();
      const again = await eventually("a socket opens", async () => {
        const next = await open("ws/hello").catch(() => undefined);
        return next?.status === 101 ? next : undefined;
      });
      expect(await nextText(again)).to.equal("hello");
    });

  it("a replica killed under a socket closes it, and the function serves again", async () => {
    const { pid } = await stats();
    const [watchdog] = platform.pids("watchdog").filter((candidate) => isParentOf(candidate, pid));
    const client = await accepted("ws/echo");
    process.kill(watchdog ?? 0, "SIGKILL");
    await client.closed;
    await eventually("a socket opens", async () => ((await open("ws/echo")).status === 101 ? true : undefined));
  });

  it("a function's process killed under a socket closes it, and the function serves again", async () => {
    const client = await accepted("ws/echo");
    process.kill((await stats()).pid, "SIGKILL");
    await client.closed;
    await eventually("a socket opens", async () => ((await open("ws/echo")).status === 101 ? true : undefined));
  });
});
