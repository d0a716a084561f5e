import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { expect } from "chai";
import { type HttpServer, serveHttp } from "./server.ts";

describe("serveHttp()", () => {
  let server: HttpServer;
  const upgraded: Socket[] = [];
  const clients: Socket[] = [];

  beforeEach(async () => {
    server = await serveHttp({
      host: "127.0.0.1",
      port: 0,
      onRequest: (request, response) => {
        const chunks: Buffer[] = [];
        request.on("data", (chunk: Buffer) => chunks.push(chunk));
        request.on("end", () => response.end(`${request.method} ${request.url} ${Buffer.concat(chunks).toString()};`));
      },
      onUpgrade: ({ request, socket, early }) => {
        upgraded.push(socket);
        socket.on("error", () => undefined);
        socket.write(`upgraded ${request.url} ${early.toString()};`);
      },
    });
  });
  afterEach(async () => {
    for (const socket of [...clients, ...upgraded]) socket.destroy();
    clients.length = upgraded.length = 0;
    await server.stop(0);
  });

  /** Sends raw requests over one connection, each after the answer to the one before, which ends with a semicolon. */
  const talk = async (...requests: readonly string[]): Promise<string[]> => {
    const socket = connect(server.port, "127.0.0.1");
    clients.push(socket);
    const answers: string[] = [];
    for (const request of requests) {
      socket.write(request);
      let text = "";
      while (!text.includes(";")) text += String((await once(socket, "data"))[0]);
      answers.push(text.slice(text.includes("\r\n\r\n") ? text.indexOf("\r\n\r\n") + 4 : 0));
    }
    return answers;
  };
  const head = (line: string, protocol: string, more = ""): string =>
    `${line} HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: ${protocol}\r\n${more}\r\n`;
  const webSocket = head("GET /function/a/b?c", "WebSocket", "Sec-WebSocket-Key: k\r\n");

  it("hands a WebSocket with a function over, with the bytes right behind its head", async () => {
    expect(await talk(`${webSocket}early`)).to.deep.equal(["upgraded /function/a/b?c early;"]);
  });

  const ordinary: readonly (readonly [string, string, string])[] = [
    ["h2c", head("GET /function/a", "h2c"), "GET /function/a ;"],
    [
      "h2c with a body",
      `${head("POST /function/a", "h2c", "Content-Length: 4\r\nHTTP2-Settings: x\r\n")}body`,
      "POST /function/a body;",
    ],
    [
      "h2c with a chunked body",
      `${head("POST /function/a", "h2c", "Transfer-Encoding: chunked\r\n")}4\r\nbody\r\n0\r\n\r\n`,
      "POST /function/a body;",
    ],
    ["a WebSocket with the API", head("GET /system/functions", "websocket"), "GET /system/functions ;"],
    [
      "a WebSocket by POST",
      `${head("POST /function/a", "websocket", "Content-Length: 4\r\n")}body`,
      "POST /function/a body;",
    ],
    [
      "a WebSocket with a body",
      `${head("GET /function/a", "websocket", "Content-Length: 4\r\n")}body`,
      "GET /function/a body;",
    ],
  ];
  for (const [what, request, answer] of ordinary)
    it(`serves ${what} as an ordinary request, and the connection's next ones as what they are`, async () => {
      expect(await talk(request, request, webSocket)).to.deep.equal([answer, answer, "upgraded /function/a/b?c ;"]);
    });

  it("ends a CONNECT, as there is nowhere to connect to", async () => {
    const socket = connect(server.port, "127.0.0.1");
    clients.push(socket);
    socket.resume().write("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n");
    await once(socket, "close");
  });

  it("stop() cuts what is still upgraded when its grace is over", async () => {
    await talk(webSocket);
    const beganMs = Date.now();
    await server.stop(50);
    expect(Date.now() - beganMs).to.be.within(45, 8000);
    expect(upgraded.map(({ destroyed }) => destroyed)).to.deep.equal([true]);
  });
});
