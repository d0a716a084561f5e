import { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { isInvocation } from "./invocation-url.ts";

/** A request that has left HTTP: its connection is the caller's own. */
export interface Upgraded {
  readonly request: IncomingMessage;
  readonly socket: Socket;
  /** What came right behind its head. */
  readonly early: Buffer;
}

// A body would be taken for the first bytes of the WebSocket.
const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers["transfer-encoding"] !== undefined || (headers["content-length"] ?? "0") !== "0";

/** Tells whether a request asks to become a WebSocket with a function (RFC 6455 §4.1). */
const isWebSocket = (request: IncomingMessage): boolean =>
  request.method === "GET" &&
  request.headers.upgrade?.toLowerCase() === "websocket" &&
  request.httpVersion === "1.1" &&
  isInvocation(request.url ?? "") &&
  !hasBody(request);

/**
 * A request that is an upgrade only as a WebSocket with a function: any other (`h2c` of Java's client and of curl) is
 * served as if it had not asked. With a listener for "upgrade", this version of Node would leave all of them to it; its
 * parser asks this property, which it has set from the head, after it has read the head.
 */
export class UpgradableRequest extends IncomingMessage {
  declare private _asksUpgrade: boolean;

  get upgrade(): boolean {
    return this._asksUpgrade && (this.method === "CONNECT" || isWebSocket(this));
  }

  set upgrade(asks: boolean) {
    this._asksUpgrade = asks;
  }
}

/** An upgrade's connection has this long to take an ordinary answer's end and close. */
const closingMs = 1000;

/** Ends a connection after what was written to it; one that its client does not close then is cut. */
export const endSocket = (socket: Socket): void => {
  socket.end(() => {
    setTimeout(() => socket.destroy(), closingMs).unref();
  });
};

/**
 * An ordinary answer to an upgrade, after which the connection ends. Undefined when an earlier request's answer is still
 * on its way there: the connection was not the client's to change yet.
 */
export const openResponse = ({ request, socket }: Upgraded): ServerResponse | undefined => {
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  try {
    response.assignSocket(socket);
  } catch {
    return undefined;
  }
  response.once("finish", () => endSocket(socket));
  return response;
};
