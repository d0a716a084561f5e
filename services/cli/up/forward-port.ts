import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import type { Stoppable } from "./stop-list.ts";

/** A port that is passed on. */
export interface ForwardedPort extends Stoppable {
  readonly port: number;
}

/** Where connections come from and go to. */
export interface Forwarding {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly to: { readonly host: string; readonly port: number };
}

const join = (near: Socket, far: Socket): void => {
  near.pipe(far);
  near.on("error", () => far.destroy());
  near.on("close", () => far.destroy());
};

const forward = (server: Server, to: Forwarding["to"]): Set<Socket> => {
  const sockets = new Set<Socket>();
  server.on("connection", (near) => {
    const far = connect(to);
    for (const socket of [near, far]) {
      socket.setNoDelay(true);
      sockets.add(socket);
      socket.on("close", () => sockets.delete(socket));
    }
    join(near, far);
    join(far, near);
  });
  return sockets;
};

/** Passes every connection to a port on to another address, until it is stopped. Rejects when it cannot listen. */
export const forwardPort = async ({ name, host, port, to }: Forwarding): Promise<ForwardedPort> => {
  const server = createServer();
  const sockets = forward(server, to);
  server.listen({ host, port, exclusive: true });
  await once(server, "listening");
  const stop = (): void => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  return { name, port, stop: async () => stop(), kill: stop };
};
