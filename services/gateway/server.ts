import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { BuskerError } from "../../schemas/errors.ts";
import { lingerOnClose } from "./linger.ts";
import { endSocket, UpgradableRequest, type Upgraded } from "./upgrade.ts";

/** Largest request head in bytes: its JSON form must fit the room a message keeps for headers. */
export const maxHeadBytes = 64 * 1024;

/** What a server serves, and where; port 0 is any free one. */
export interface HttpParts {
  /** Gets requests that wait for `100 Continue`, too: see `askForBody`. */
  readonly onRequest: RequestListener;
  /** A request that asks for a WebSocket with a function. */
  readonly onUpgrade: (upgraded: Upgraded) => void;
  readonly host: string;
  readonly port: number;
}

/** A listening HTTP server. */
export interface HttpServer {
  readonly port: number;
  /** Takes no new connection, waits for open calls and WebSockets up to `graceMs`, then cuts them. */
  readonly stop: (graceMs: number) => Promise<void>;
}

// Longer than the idle time of common load balancers, so that it is never this side that closes a connection in use.
const keepAliveMs = 75_000;

const writeRefusal = (error: NodeJS.ErrnoException, socket: Socket): void => {
  const [status, body] =
    error.code === "HPE_HEADER_OVERFLOW"
      ? ["413 Content Too Large", `the request's headers are larger than ${maxHeadBytes} bytes`]
      : ["400 Bad Request", "the request is not valid HTTP/1.1"];
  socket.write(
    `HTTP/1.1 ${status}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\nContent-Length: ${body.length + 1}\r\n\r\n${body}\n`,
  );
  endSocket(socket);
};

// Node has no public name for it, and looks at this one for the same reason before it refuses.
const responseOn = (socket: Socket & { readonly _httpMessage?: ServerResponse }): ServerResponse | undefined =>
  socket._httpMessage ?? undefined;

/**
 * Answers what is no HTTP: after the answers to the requests before it, instead of the answer to a request whose body it
 * is. An answer that has begun is broken off: whatever was written now would be taken for a part of it.
 */
const refuse = (error: NodeJS.ErrnoException, socket: Socket): void => {
  const open = responseOn(socket);
  if (!socket.writable) socket.destroy();
  else if (open?.req.complete) open.once("close", () => refuse(error, socket));
  else if (open?.headersSent) socket.resetAndDestroy();
  else writeRefusal(error, socket);
};

/** Refuses each connection once: what follows a fault is none of a request, and tells of the same fault again. */
const refuseFaults = (server: Server): void => {
  const refused = new WeakSet<Socket>();
  server.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) => {
    if (refused.has(socket)) return;
    refused.add(socket);
    refuse(error, socket);
  });
};

const listen = (server: Server, host: string, port: number): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once("error", (cause) => {
      reject(new BuskerError("internal", `could not listen on ${host}:${port}`, { cause }));
    });
    server.listen(port, host, 1024, resolve);
  });

/** Passes upgrades on; gives those of their connections that are open, as the server itself forgets them. */
const followUpgrades = (server: Server, onUpgrade: HttpParts["onUpgrade"]): ReadonlySet<Socket> => {
  const open = new Set<Socket>();
  server.on("upgrade", (request: IncomingMessage, socket: Socket, early: Buffer) => {
    open.add(socket);
    socket.once("close", () => open.delete(socket));
    onUpgrade({ request, socket, early });
  });
  return open;
};

/** Serves HTTP; rejects when the port cannot be had. */
export const serveHttp = async ({ onRequest, onUpgrade, host, port }: HttpParts): Promise<HttpServer> => {
  const server = createServer(
    {
      maxHeaderSize: maxHeadBytes,
      keepAliveTimeout: keepAliveMs,
      requestTimeout: 0,
      IncomingMessage: UpgradableRequest,
    },
    onRequest,
  );
  const upgraded = followUpgrades(server, onUpgrade);
  refuseFaults(server);
  // Without a listener, Node would ask for every body before anybody has looked at the head.
  server.on("checkContinue", onRequest);
  lingerOnClose(server);
  await listen(server, host, port);
  return {
    port: (server.address() as AddressInfo).port,
    stop: (graceMs) =>
      new Promise((resolve) => {
        const timer = setTimeout(() => {
          server.closeAllConnections();
          for (const socket of upgraded) socket.destroy();
        }, graceMs);
        server.close(() => {
          clearTimeout(timer);
          resolve();
        });
        server.closeIdleConnections();
      }),
  };
};
