import type { ServerResponse } from "node:http";

/** Calls back once, when the client is gone or has its whole answer. */
export const onceGone = (response: ServerResponse, onGone: () => void): void => {
  if (response.socket) return void response.once("close", onGone);
  // It was asked for behind another answer and waits for its turn: until then Node does not say that its client is gone.
  const { socket } = response.req;
  const tell = (): void => {
    response.off("close", tell);
    socket.off("close", tell);
    onGone();
  };
  response.once("close", tell);
  // Every request of a row that was sent without waiting listens here.
  socket.setMaxListeners(0).once("close", tell);
};
