import type { Socket } from "node:net";
import type { BodySink } from "../bus/body-sender.ts";
import type { Upgraded } from "./upgrade.ts";

/** What the client of an upgrade sends, read from the request on so that its end is noticed. */
export interface ClientSocket {
  readonly socket: Socket;
  /** Writes what has come and all that follows, at the pace at which the sink takes it. */
  readonly writeTo: (sink: BodySink) => void;
  /** It is a WebSocket: from now on the end of what the client sends is one half's, and not the call's. */
  readonly accept: () => void;
  /** It stays an ordinary request: what the client sends is dropped. */
  readonly refuse: () => void;
}

// A client may send its first messages before it is answered; more than this waits in its socket.
const maxEarlyBytes = 64 * 1024;

/** Begins to read; a client that ends before it is answered is gone. */
export const openClientSocket = ({ socket, early }: Upgraded): ClientSocket => {
  let state: "asking" | "open" | "refused" = "asking";
  let sink: BodySink | undefined;
  let held: Buffer[] = [];
  let heldBytes = 0;
  let isEnded = false;
  const pass = (to: BodySink, chunk: Buffer): void => {
    if (!to.write(chunk) && !to.isOver) socket.pause();
  };
  const hold = (chunk: Buffer): void => {
    held.push(chunk);
    heldBytes += chunk.length;
    if (heldBytes > maxEarlyBytes) socket.pause();
  };
  // What breaks the connection is told by "close", too.
  socket.on("error", () => undefined);
  socket.setTimeout(0);
  if (early.length > 0) socket.unshift(early);
  socket.on("data", (chunk: Buffer) => {
    if (state === "refused") return;
    if (sink) pass(sink, chunk);
    else hold(chunk);
  });
  socket.on("end", () => {
    isEnded = true;
    if (state === "open") sink?.end();
    else if (state === "asking") socket.destroy();
    else socket.end();
  });
  return {
    socket,
    writeTo: (to) => {
      if (state === "refused") return;
      sink = to;
      to.onDrain = () => socket.resume();
      const first = held;
      held = [];
      socket.resume();
      for (const chunk of first) pass(to, chunk);
      if (isEnded) to.end();
    },
    accept: () => {
      state = "open";
    },
    refuse: () => {
      state = "refused";
      held = [];
      socket.resume();
    },
  };
};
