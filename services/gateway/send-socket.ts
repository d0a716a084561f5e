import { STATUS_CODES } from "node:http";
import type { CallResult } from "../bus/open-call.ts";
import type { ClientSocket } from "./client-socket.ts";
import type { CallHead } from "./http-head.ts";
import { responseHeaders } from "./send-result.ts";
import { endSocket } from "./upgrade.ts";

/** A function's 101 and whom it goes to. */
export interface AcceptedSocket {
  readonly client: ClientSocket;
  readonly call: CallHead;
  readonly startNs: string;
  readonly result: Extract<CallResult, { readonly kind: "streaming" }>;
  /** Called once, with 101, or with the status of the error that the socket ended with. */
  readonly end: (status: number) => void;
}

const encodeHead = ({ call, startNs, result }: AcceptedSocket): string => {
  const { status } = result.reply.head;
  const headers = responseHeaders({ call, startNs, reply: result.reply, keepsLength: false, hasBody: false });
  headers.push("Connection", "Upgrade", "Upgrade", "websocket");
  let text = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n`;
  for (let at = 0; at < headers.length; at += 2) text += `${headers[at]}: ${headers[at + 1]}\r\n`;
  return `${text}\r\n`;
};

/**
 * Joins a client with the function that has accepted its WebSocket: bytes both ways, each side at the other's pace. The
 * function's end is the call's; what goes wrong cuts the client's connection, as there is no other way to tell it.
 */
export const joinSocket = (parts: AcceptedSocket): void => {
  const { client, result, end } = parts;
  const { socket } = client;
  const write = (chunk: Uint8Array): void => {
    socket.write(chunk, (error) => {
      if (!error) result.rest.consumed(chunk.length);
    });
  };
  result.rest.listen({
    onData: write,
    onEnd: () => {
      client.refuse();
      endSocket(socket);
      end(result.reply.head.status);
    },
    onError: (error) => {
      end(error.status);
      socket.destroy();
    },
  });
  client.accept();
  socket.write(encodeHead(parts), "latin1");
  if (result.body.length > 0) write(result.body);
};
