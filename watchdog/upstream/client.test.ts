import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { expect } from "chai";
import type { BodyListener } from "../../services/bus/body-receiver.ts";
import type { BodySink } from "../../services/bus/body-sender.ts";
import { createUpstreamClient, type UpstreamClient } from "./client.ts";
import type { ExchangeOutcome } from "./connection.ts";

/** What a server does with one connection. */
type Script = (socket: Socket, connection: number) => void;

const respond =
  (...pieces: readonly string[]): Script =>
  (socket) => {
    socket.once("data", async () => {
      // One piece a turn, so that they arrive apart.
      for (const piece of pieces) await new Promise((sent) => socket.write(piece, "latin1", () => setImmediate(sent)));
      socket.end();
    });
  };

const stay =
  (...responses: readonly string[]): Script =>
  (socket) => {
    let index = 0;
    socket.on("data", () => socket.write(responses[index++ % responses.length] ?? ""));
  };

const summary = (outcome: ExchangeOutcome): string =>
  outcome.kind === "streaming"
    ? `streaming ${outcome.head.status}`
    : outcome.kind === "answered"
      ? `${outcome.response.head.status} ${outcome.response.body.toString("latin1")}`
      : `${outcome.error.code}: ${outcome.error.message}`;

describe("createUpstreamClient()", () => {
  let server: Server;
  let client: UpstreamClient;
  let connections = 0;
  const sockets = new Set<Socket>();

  const open = async (script: Script, maxBodyBytes = 1000): Promise<void> => {
    server = createServer({ noDelay: true }, (socket) => {
      sockets.add(socket);
      socket.on("error", () => undefined);
      script(socket, ++connections);
    });
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    client = createUpstreamClient({ host: "127.0.0.1", port: (server.address() as AddressInfo).port }, maxBodyBytes);
  };
  const exchange = (method = "GET", canRepeat = false): Promise<ExchangeOutcome> =>
    new Promise((done) => {
      client.exchange(
        { head: `${method} / HTTP/1.1\r\nHost: a\r\n\r\n`, body: new Uint8Array(), isHead: method === "HEAD" },
        canRepeat,
        done,
      );
    });

  afterEach(async () => {
    client.close("the test is over");
    for (const socket of sockets) socket.destroy();
    sockets.clear();
    connections = 0;
    await new Promise((closed) => server.close(closed));
  });

  const ok = "HTTP/1.1 200 OK\r\n";
  const read: readonly (readonly [string, readonly string[], string])[] = [
    ["a length", [`${ok}Content-Length: 3\r\n\r\nabc`], "200 abc"],
    [
      "a length in pieces, cut in the head and in the body",
      ["HTT", "P/1.1 200 OK\r\nContent-Le", "ngth: 3\r", "\n\r", "\na", "bc"],
      "200 abc",
    ],
    ["chunks", [`${ok}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n`], "200 abcde"],
    [
      "chunks cut everywhere, with trailers",
      [
        `${ok}Transfer-Encoding: Chunked\r\n\r\n`,
        "A",
        "\r",
        "\n0123",
        "456789",
        "\r",
        "\n0",
        "\r\nX: y\r",
        "\n\r",
        "\n",
      ],
      "200 0123456789",
    ],
    ["a body until the connection closes", [`${ok}\r\nab`, "cd"], "200 abcd"],
    ["HTTP/1.0", ["HTTP/1.0 404 Not Found\r\n\r\nno"], "404 no"],
    ["no reason phrase", ["HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"], "200 "],
    [
      "interim responses before the real one",
      ["HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", `${ok}Content-Length: 1\r\n\r\nx`],
      "200 x",
    ],
    ["204 without a body, whatever it says", ["HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"], "204 "],
    ["two equal lengths", [`${ok}Content-Length: 1\r\nContent-Length: 1\r\n\r\nx`], "200 x"],
  ];
  for (const [what, pieces, expected] of read)
    it(`reads ${what}`, async () => {
      await open(respond(...pieces));
      expect(summary(await exchange())).to.equal(expected);
    });

  const faults: readonly (readonly [string, readonly string[], RegExp])[] = [
    ["a short body", [`${ok}Content-Length: 9\r\n\r\nabc`], /function_unreachable.*cut short: 3 of 9/],
    [
      "a missing last chunk",
      [`${ok}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n`],
      /function_unreachable.*cut short/,
    ],
    ["a head cut short", ["HTTP/1.1 200 OK\r\nA: b"], /function_unreachable.*its head was cut short/],
    ["nothing at all", [], /function_unreachable.*without an answer/],
    ["another protocol", ["SSH-2.0-OpenSSH\r\n\r\n"], /malformed.*status line/],
    ["lines that end in LF only", ["HTTP/1.1 200 OK\nA: b\n\n"], /malformed.*CR LF/],
    ["a header without a colon", [`${ok}what\r\n\r\n`], /malformed.*header line/],
    ["a folded header", [`${ok}A: b\r\n c\r\n\r\n`], /malformed.*header line/],
    ["a space before the colon", [`${ok}A : b\r\n\r\n`], /malformed.*header line/],
    ["a control character in a value", [`${ok}A: b\0c\r\n\r\n`], /malformed.*header line/],
    ["two lengths", [`${ok}Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx`], /malformed.*different/],
    ["a negative length", [`${ok}Content-Length: -1\r\n\r\n`], /malformed.*Content-Length/],
    [
      "length and chunks at once",
      [`${ok}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
      /malformed.*both/,
    ],
    ["another transfer coding", [`${ok}Transfer-Encoding: gzip, chunked\r\n\r\n`], /malformed.*Transfer-Encoding/],
    ["a chunk size that is none", [`${ok}Transfer-Encoding: chunked\r\n\r\nzz\r\n`], /malformed.*chunk size/],
    [
      "a chunk longer than its size",
      [`${ok}Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n`],
      /malformed.*longer/,
    ],
    ["a switch of protocols", ["HTTP/1.1 101 Switching Protocols\r\n\r\n"], /malformed.*switches/],
    ["a head without an end", [`${ok}A: ${"x".repeat(300_000)}`], /malformed.*larger than 262144/],
    ["a length beyond the limit", [`${ok}Content-Length: 1001\r\n\r\n`], /response_too_large/],
    ["chunks beyond the limit", [`${ok}Transfer-Encoding: chunked\r\n\r\n3e9\r\n`], /response_too_large/],
    ["a body beyond the limit until close", [`${ok}\r\n${"x".repeat(1001)}`], /response_too_large/],
  ];
  for (const [what, pieces, expected] of faults)
    it(`fails on ${what}`, async () => {
      await open(respond(...pieces));
      expect(summary(await exchange())).to.match(expected);
    });

  /** How a request ends whose answer may be streamed, in the same words. */
  const exchangeStreamed = (): Promise<{ readonly text: string; readonly pieces: number }> =>
    new Promise((done) => {
      const request = { head: "GET / HTTP/1.1\r\nHost: a\r\n\r\n", body: new Uint8Array(), isHead: false };
      client.exchange({ ...request, canStream: true }, false, (outcome) => {
        if (outcome.kind !== "streaming") return done({ text: summary(outcome), pieces: 0 });
        const got = [outcome.body];
        outcome.start({
          isOver: false,
          onDrain: () => {},
          write: (chunk) => got.push(Buffer.from(chunk)) > 0,
          end: () =>
            done({ text: `${outcome.head.status} ${Buffer.concat(got).toString("latin1")}`, pieces: got.length }),
          abort: (error) => done({ text: `${error.code}: ${error.message}`, pieces: got.length }),
        });
      });
    });

  for (const [what, pieces, expected] of read)
    it(`streams ${what}`, async () => {
      await open(respond(...pieces));
      expect((await exchangeStreamed()).text).to.equal(expected);
    });
  for (const [what, pieces, expected] of faults)
    if (!expected.test("response_too_large"))
      it(`fails on ${what} while it streams`, async () => {
        await open(respond(...pieces));
        expect((await exchangeStreamed()).text).to.match(expected);
      });

  it("streams what is larger than its limit, in pieces, and uses the connection again", async () => {
    await open(stay(`${ok}Content-Length: 1000000\r\n\r\n${"x".repeat(1_000_000)}`));
    for (let count = 0; count < 2; count++) {
      const { text, pieces } = await exchangeStreamed();
      expect([text.length, pieces > 2]).to.deep.equal([1_000_004, true]);
    }
    expect(connections).to.equal(1);
  });

  it("stops reading while the sink is full, and goes on when it has drained", async () => {
    let written = 0;
    await open((socket) => {
      const piece = Buffer.alloc(65_536);
      const flood = (): void => {
        do written += piece.length;
        while (socket.write(piece));
        socket.once("drain", flood);
      };
      socket.once("data", () => {
        socket.write(`${ok}\r\n`);
        flood();
      });
    });
    let sink: BodySink | undefined;
    let taken = 0;
    await new Promise<void>((full) => {
      const request = { head: "GET / HTTP/1.1\r\nHost: a\r\n\r\n", body: new Uint8Array(), isHead: false };
      client.exchange({ ...request, canStream: true }, false, (outcome) => {
        if (outcome.kind !== "streaming") throw new Error(summary(outcome));
        const write = (chunk: Uint8Array): boolean => {
          taken += chunk.length;
          full();
          return false;
        };
        outcome.start((sink = { isOver: false, onDrain: () => {}, write, end: () => {}, abort: () => {} }));
      });
    });
    const held = taken;
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
    expect(taken).to.equal(held);
    sink?.onDrain();
    for (let turn = 0; taken === held && turn < 1000; turn++) await new Promise(setImmediate);
    expect(taken).to.be.greaterThan(held);
    expect(taken).to.be.lessThan(written);
  });

  /** Asks for a WebSocket, and plays the caller that sends into it. */
  const askUpgrade = () => {
    let listener: BodyListener | undefined;
    const got: Buffer[] = [];
    let consumedBytes = 0;
    const rest = {
      listen: (to: BodyListener) => void (listener = to),
      consumed: (bytes: number) => void (consumedBytes += bytes),
    };
    const head = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    const parts = { head, body: new Uint8Array(), isHead: false, canStream: true, isUpgrade: true };
    const ended = new Promise<string>((done) => {
      client.exchange({ ...parts, upload: { rest, bytes: undefined } }, true, (outcome) => {
        if (outcome.kind !== "streaming") return done(summary(outcome));
        got.push(outcome.body);
        outcome.start({
          isOver: false,
          onDrain: () => {},
          write: (chunk) => got.push(Buffer.from(chunk)) > 0,
          end: () => done(`${outcome.head.status} ${Buffer.concat(got).toString("latin1")}`),
          abort: (error) => done(`${error.code}: ${error.message}`),
        });
      });
    });
    return {
      ended,
      consumed: () => consumedBytes,
      send: (text: string) => listener?.onData(Buffer.from(text)),
      end: () => listener?.onEnd(),
    };
  };
  const accepts = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n";
  const isHeadOnly = (text: string): boolean => text.endsWith("\r\n\r\n");

  it("becomes a WebSocket: bytes both ways as they are, from right behind the heads to the server's end", async () => {
    let seen = "";
    await open((socket) => {
      socket.on("data", (chunk) => {
        seen += String(chunk);
        if (isHeadOnly(seen)) socket.write(`${accepts}first `);
        else if (seen.endsWith("bye")) socket.end("last");
      });
    });
    const asked = askUpgrade();
    asked.send("early ");
    asked.send("bye");
    expect(await asked.ended).to.equal("101 first last");
    expect(seen.slice(seen.indexOf("\r\n\r\n") + 4)).to.equal("early bye");
    expect(asked.consumed()).to.equal(9);
    expect(summary(await exchange())).to.match(/without having been asked/);
    expect(connections, "a WebSocket's connection is not used again").to.equal(2);
  });

  it("tells the server that the WebSocket's client sends no more, and waits for what the server has left", async () => {
    await open((socket) => {
      socket.once("data", () => socket.write(accepts));
      socket.once("end", () => socket.write("left", () => socket.end()));
    });
    const asked = askUpgrade();
    asked.end();
    expect(await asked.ended).to.equal("101 left");
  });

  it("shows a server that refuses the WebSocket nothing of what its client has sent", async () => {
    let seen = "";
    await open((socket) => {
      socket.on("data", (chunk) => {
        seen += String(chunk);
        setImmediate(() => socket.write("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"));
      });
    });
    const asked = askUpgrade();
    asked.send("early");
    expect(await asked.ended).to.equal("403 no");
    asked.send("late");
    expect(summary(await exchange())).to.equal("403 no");
    expect(seen).to.not.match(/early|late/);
    expect(connections).to.equal(2);
  });

  for (const [what, answer] of [
    ["another protocol", "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"],
    ["no protocol", "HTTP/1.1 101 X\r\n\r\n"],
  ] as const)
    it(`fails on a switch to ${what} where a WebSocket was asked for`, async () => {
      await open(respond(answer));
      expect(await askUpgrade().ended).to.match(/malformed.*switches/);
    });

  it("reads no body after HEAD and keeps the length, because it tells the size of the other answer", async () => {
    await open(stay(`${ok}Content-Length: 5\r\n\r\n`));
    const outcome = await exchange("HEAD");
    expect(summary(outcome)).to.equal("200 ");
    expect(outcome.kind === "answered" && outcome.response.head.headers).to.deep.equal(["Content-Length", "5"]);
  });

  it("leaves hop-by-hop headers out, those named by Connection too", async () => {
    await open(
      respond(
        `${ok}Connection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nX-End: 2\r\nContent-Length: 0\r\n\r\n`,
      ),
    );
    const outcome = await exchange();
    expect(outcome.kind === "answered" && outcome.response.head.headers).to.deep.equal(["X-End", "2"]);
  });

  it("uses a connection again, and one for each of several at once", async () => {
    await open(stay(`${ok}Content-Length: 1\r\n\r\na`));
    for (let count = 0; count < 3; count++) await exchange();
    expect(connections).to.equal(1);
    await Promise.all([exchange(), exchange()]);
    expect(connections).to.equal(2);
  });

  it("a request that is dropped after its answer takes nothing from the one that its connection carries then", async () => {
    const body = "x".repeat(300_000);
    let answerSecond = (): void => {};
    let requests = 0;
    await open((socket) => {
      socket.on("data", () => {
        requests += 1;
        if (requests === 1) socket.write(`${ok}Content-Length: ${body.length}\r\n\r\n${body}`);
        else answerSecond = () => socket.write(`${ok}Content-Length: 6\r\n\r\nsecond`);
      });
    });
    const request = {
      head: "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
      body: new Uint8Array(),
      isHead: false,
      canStream: true,
    };
    let drop = (): void => {};
    await new Promise<void>((ended) => {
      drop = client.exchange(request, false, (outcome) => {
        if (outcome.kind === "streaming")
          outcome.start({ isOver: false, onDrain: () => {}, write: () => true, end: ended, abort: () => {} });
      });
    });
    const second = exchange();
    while (requests < 2) await new Promise(setImmediate);
    drop();
    answerSecond();
    expect(summary(await second)).to.equal("200 second");
    expect(connections).to.equal(1);
  });

  it("opens another connection after a 204 that announces a body, because the body may well follow", async () => {
    await open((socket, connection) => {
      socket.on("data", () =>
        socket.write(
          connection === 1
            ? "HTTP/1.1 204 None\r\nTransfer-Encoding: chunked\r\n\r\n"
            : `${ok}Content-Length: 1\r\n\r\na`,
        ),
      );
    });
    expect([summary(await exchange()), summary(await exchange())]).to.deep.equal(["204 ", "200 a"]);
  });

  for (const [what, response] of [
    ["Connection: close", `${ok}Connection: close\r\nContent-Length: 1\r\n\r\na`],
    ["bytes after the answer", `${ok}Content-Length: 1\r\n\r\nabc`],
    ["HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na"],
    ["a promise to keep it for one second only", `${ok}Keep-Alive: timeout=1\r\nContent-Length: 1\r\n\r\na`],
  ] as const)
    it(`opens another connection after ${what}`, async () => {
      await open(stay(response));
      await exchange();
      expect(summary(await exchange())).to.equal("200 a");
      expect(connections).to.equal(2);
    });

  const closeOnSecond: Script = (socket, connection) => {
    let requests = 0;
    socket.on("data", () => {
      if (++requests === 2 && connection === 1) socket.destroy();
      else socket.write(`${ok}Content-Length: 1\r\n\r\na`);
    });
  };
  it("repeats a request that met a closing connection, but only where that is safe", async () => {
    await open(closeOnSecond);
    await exchange();
    expect(summary(await exchange("GET", true))).to.equal("200 a");
    expect(connections).to.equal(2);
  });
  it("does not repeat a request that may have done its work", async () => {
    await open(closeOnSecond);
    await exchange();
    expect(summary(await exchange("POST", false))).to.match(/function_unreachable/);
    expect(connections).to.equal(1);
  });

  it("close() fails what is in flight with its reason", async () => {
    await open(() => client.close("the function died"));
    expect(summary(await exchange())).to.equal("function_unreachable: the function died");
  });
});
