import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { expect } from "chai";
import { forwardPort } from "./forward-port.ts";

const portOf = (server: Server): number => (server.address() as AddressInfo).port;

const listen = async (onConnection: (socket: Socket) => void): Promise<Server> => {
  const server = createServer(onConnection).listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
};

const freePort = async (): Promise<number> => {
  const server = await listen(() => undefined);
  const port = portOf(server);
  server.close();
  await once(server, "close");
  return port;
};

const name = "a port";
const host = "127.0.0.1";

describe("forwardPort()", () => {
  it("passes bytes on both ways, and the end of a connection", async () => {
    const echo = await listen((socket) => void socket.pipe(socket));
    const forwarded = await forwardPort({ name, host, port: await freePort(), to: { host, port: portOf(echo) } });
    const client = connect(forwarded.port, host);
    client.write("hello");
    expect(String((await once(client, "data"))[0])).to.equal("hello");
    client.end();
    await once(client, "close");
    await forwarded.stop();
    echo.close();
    await once(echo, "close");
  });

  it("closes a connection when nobody listens behind it, and all when it stops", async () => {
    const port = await freePort();
    const forwarded = await forwardPort({ name, host, port, to: { host, port: await freePort() } });
    await once(connect(port, host).resume(), "close");
    await forwarded.stop();
    const [error] = (await once(connect(port, host), "error")) as [NodeJS.ErrnoException];
    expect(error.code).to.equal("ECONNREFUSED");
  });

  it("rejects when somebody listens there already", async () => {
    const other = await listen(() => undefined);
    const error = await forwardPort({ name, host, port: portOf(other), to: { host, port: 1 } }).catch(
      (cause: unknown) => cause,
    );
    other.close();
    expect(error).to.have.property("code", "EADDRINUSE");
  });
});
