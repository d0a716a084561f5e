import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import { expect } from "chai";
import { lingerOnClose } from "./linger.ts";

describe("lingerOnClose()", () => {
  const piece = Buffer.alloc(64 * 1024, 1);
  const pieces = 64;
  const said = "x".repeat(100_000);
  let server: Server;
  let port: number;
  const clients: Socket[] = [];

  const open = async (onRequest: RequestListener, limitMs?: number): Promise<void> => {
    server = createServer(onRequest);
    lingerOnClose(server, limitMs);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    ({ port } = server.address() as AddressInfo);
  };
  const request = (more = ""): Socket => {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    clients.push(socket);
    socket.write(`POST / HTTP/1.1\r\nHost: a\r\n${more}Content-Length: ${pieces * piece.length}\r\n\r\n`);
    return socket;
  };
  const answerEarly: RequestListener = (_request, response) => {
    response.writeHead(413, { Connection: "close", "Content-Length": said.length });
    response.end(said);
  };

  afterEach(() => {
    for (const socket of clients.splice(0)) socket.destroy();
    server.closeAllConnections();
    server.close();
  });

  for (const more of ["", "Connection: close\r\n"])
    it(`an early answer comes whole to a client that first sends all its body${more && " and asked for a close"}`, async () => {
      let ended: Promise<unknown> | undefined;
      await open((request, response) => {
        ended = once(response, "finish");
        answerEarly(request, response);
      });
      const socket = request(more);
      // Nothing is read before all is sent: what the client's system has not taken is lost with a reset.
      for (let n = 0; n < pieces; n += 1)
        await new Promise<void>((resolve, reject) => {
          socket.write(piece, (error) => (error ? reject(error) : resolve()));
        });
      await ended;
      const answer = await text(socket);
      expect(answer.split("\r\n\r\n")[1]).to.equal(said);
    });

  it("a client that never ends its body is cut in the end", async () => {
    await open(answerEarly, 50);
    const socket = request();
    socket.resume();
    const [theirs] = (await once(server, "connection")) as [Socket];
    await once(theirs, "close");
  });

  it("a connection whose request was whole closes at once", async () => {
    await open((request, response) => request.resume().on("end", () => response.end("ok")), 60_000);
    const socket = connect(port, "127.0.0.1");
    clients.push(socket);
    socket.write("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    expect(await text(socket)).to.match(/ok/);
    await once(socket, "close");
  });
});
