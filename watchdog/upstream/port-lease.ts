import { connect, createServer, type Server } from "node:net";
import { BuskerError } from "../../schemas/errors.ts";

/** A port that no other watchdog of this machine gives to its function meanwhile. */
export interface PortLease {
  readonly port: number;
  release(): void;
}

const listen = (options: { port: number; host: string } | { path: string }): Promise<Server> =>
  new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once("error", reject);
    server.listen(options, () => resolve(server));
  });

/**
 * A name in Linux' abstract socket namespace, which is as wide as the port numbers are: one per network namespace.
 * Without it two watchdogs that start at once can be given one free port, and one would take the other's function
 * for its own.
 */
const claim = async (port: number): Promise<Server | undefined> => {
  try {
    const server = await listen({ path: `\0busker-port-${port}` });
    return server.unref();
  } catch {
    return undefined;
  }
};

const findFreePort = async (): Promise<number> => {
  const server = await listen({ port: 0, host: "0.0.0.0" });
  const address = server.address();
  await new Promise((closed) => server.close(closed));
  return typeof address === "object" && address ? address.port : 0;
};

/** How many taken ports in a row mean that something else is wrong. */
const maxTries = 20;

/** Finds a free port and holds it against other watchdogs. The function may still meet a foreign program on it. */
export const leaseFreePort = async (): Promise<PortLease> => {
  for (let attempt = 0; attempt < maxTries; attempt++) {
    const port = await findFreePort();
    const server = await claim(port);
    if (server) return { port, release: () => server.close() };
  }
  throw new BuskerError(
    "start_failed",
    `cannot find a port for the function: ${maxTries} free ones were taken at once`,
  );
};

/** Whether anybody takes connections there. */
export const isListening = (host: string, port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host, port });
    const settle = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("connect", () => settle(true));
    socket.once("error", () => settle(false));
  });

/** Holds the port that the function itself has chosen. Throws `start_failed` when somebody else uses it already. */
export const leaseFixedPort = async (host: string, port: number): Promise<PortLease> => {
  const server = await claim(port);
  const taken = !server || (await isListening(host, port));
  if (server && !taken) return { port, release: () => server.close() };
  server?.close();
  throw new BuskerError(
    "start_failed",
    `cannot start the function: port ${port} of its upstream_url is in use on this machine; leave upstream_url out and let it listen on the port in PORT`,
  );
};
