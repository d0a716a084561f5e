import type { ServerResponse } from "node:http";
import { BuskerError } from "../../schemas/errors.ts";
import type { CallResult } from "../bus/open-call.ts";
import { sendError } from "./error-reply.ts";
import type { CallHead } from "./http-head.ts";
import { responseHeaders } from "./send-result.ts";

/** A streamed answer and whom it goes to. */
export interface StreamedAnswer {
  readonly response: ServerResponse;
  readonly call: Pick<CallHead, "callId" | "contentType">;
  readonly startNs: string;
  readonly result: Extract<CallResult, { readonly kind: "streaming" }>;
  readonly cancel: () => void;
  /** Called once, with the status that counts: the answer's own, or that of the error it broke with. */
  readonly end: (status: number) => void;
}

// What was written before has this long to reach a client that does not read.
const breakingMs = 1000;

/**
 * Breaks an answer off, which must not look complete. What is there still goes out; a client tells by the missing last
 * chunk or the missing bytes. Where neither is there (HTTP/1.0), a closed connection would be the end, and only a reset
 * tells.
 */
export const breakOff = (response: ServerResponse, length: number | undefined): void => {
  const { socket } = response;
  if (!socket) response.destroy();
  else if (response.chunkedEncoding || length !== undefined) {
    socket.destroySoon();
    setTimeout(() => socket.destroy(), breakingMs).unref();
  } else socket.resetAndDestroy();
};

const lengthOf = (headers: readonly string[]): number | undefined => {
  const at = headers.findIndex((name, index) => index % 2 === 0 && name.toLowerCase() === "content-length");
  return at < 0 ? undefined : Number(headers[at + 1]);
};

/**
 * Passes a streamed answer on: each part as it comes, more of it when the client's connection has taken it. What goes
 * wrong after the head breaks the client's connection.
 */
export const sendStream = ({ response, call, startNs, result, cancel, end }: StreamedAnswer): void => {
  const { reply, body, rest } = result;
  const { status } = reply.head;
  const headers = responseHeaders({ call, startNs, reply, keepsLength: true, hasBody: true });
  const length = lengthOf(headers);
  let bytes = 0;
  let isOver = false;
  const fail = (error: BuskerError): void => {
    if (isOver) return;
    isOver = true;
    if (!response.headersSent) return end(sendError(response, error, call.callId, startNs));
    end(error.status);
    breakOff(response, length);
  };
  const write = (chunk: Uint8Array): void => {
    bytes += chunk.length;
    if (isOver) return;
    // A replica may say any length. Of bytes beyond it the client would make the next answer.
    if (length !== undefined && bytes > length) {
      fail(wrongLength(length, bytes));
      cancel();
    } else
      response.write(chunk, (error) => {
        if (!error) rest.consumed(chunk.length);
      });
  };
  rest.listen({
    onData: write,
    onEnd: () => {
      if (isOver) return;
      if (length !== undefined && bytes < length) return fail(wrongLength(length, bytes));
      isOver = true;
      response.end();
      // Nobody else reads what the client may still be sending: unread, it would keep the connection from its next request.
      response.req.resume();
      end(status);
    },
    onError: fail,
  });
  try {
    response.writeHead(status, headers);
  } catch (cause) {
    fail(
      new BuskerError("function_unreachable", `the function's answer is not valid HTTP: ${String(cause)}`, { cause }),
    );
    return cancel();
  }
  if (body.length > 0) write(body);
  else response.flushHeaders();
};

const wrongLength = (said: number, got: number): BuskerError =>
  new BuskerError("function_unreachable", `the function's answer is ${got} bytes long where its head says ${said}`);
