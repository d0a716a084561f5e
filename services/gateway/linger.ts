import type { IncomingMessage, Server } from "node:http";
import type { Socket } from "node:net";

// What a client with a slow line may still have under way when the answer's last byte was written.
const lingerMs = 5000;

/**
 * Lets a connection that ends with an answer linger while its client is still sending: what it sends is read and dropped,
 * until its body is whole or the time is over. A connection that is closed with bytes unread is reset, and the reset takes the
 * answer with it that the client has not read (RFC 9112 §9.6).
 */
export const lingerOnClose = (server: Server, limitMs = lingerMs): void => {
  const latest = new WeakMap<Socket, IncomingMessage>();
  for (const event of ["request", "checkContinue"])
    server.prependListener(event, (request: IncomingMessage) => latest.set(request.socket, request));
  server.on("connection", (socket: Socket) => {
    const destroySoon = socket.destroySoon.bind(socket);
    // The one way by which Node's server closes a connection after an answer.
    socket.destroySoon = () => {
      const request = latest.get(socket);
      if (!request || request.complete) return destroySoon();
      const timer = setTimeout(() => socket.destroy(), limitMs);
      socket.once("close", () => clearTimeout(timer));
      request.once("end", destroySoon);
      socket.end();
      request.resume();
    };
  });
};
