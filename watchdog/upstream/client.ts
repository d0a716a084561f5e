import { UpstreamConnection, type ExchangeOutcome, type ExchangeRequest } from "./connection.ts";

/** Where the function listens. */
export interface UpstreamAddress {
  readonly host: string;
  readonly port: number;
}

/** A lean HTTP/1.1 client for one server on this machine, with connections kept alive. */
export interface UpstreamClient {
  /**
   * Sends one request; `finish` is called exactly once, never before this has returned. With `canRepeat` a request that
   * met a kept connection just as the server closed it goes out again on a new one. Gives a function that drops the
   * request: `finish` is not called any more. A streamed answer is handed over at its head; its connection is used again
   * when it has ended. With a streamed body a new connection is taken, since it could not be sent twice; one that has
   * become a WebSocket carries nothing else.
   */
  exchange(request: ExchangeRequest, canRepeat: boolean, finish: (outcome: ExchangeOutcome) => void): () => void;
  /** Closes all connections; requests in flight fail with this reason. */
  close(reason: string): void;
}

/**
 * An idle connection is used again for this long, unless its server says how long it keeps one: servers close an idle
 * connection after 2 s (gunicorn) or 5 s (Node), and a request that crosses with that is lost.
 */
const defaultIdleMs = 1000;

/** Kept before the moment at which the server has said it will close. */
const idleMarginMs = 1000;

const isFresh = (connection: UpstreamConnection, nowMs: number): boolean => {
  const { keepAliveSeconds } = connection;
  const idleMs = keepAliveSeconds === undefined ? defaultIdleMs : keepAliveSeconds * 1000 - idleMarginMs;
  return connection.isUsable && nowMs - connection.idleSinceMs < idleMs;
};

/** Opens no connection before the first request; the most recently used one is used first. */
export const createUpstreamClient = (address: UpstreamAddress, maxBodyBytes: number): UpstreamClient => {
  const all = new Set<UpstreamConnection>();
  const idle: UpstreamConnection[] = [];

  const onGone = (connection: UpstreamConnection): void => {
    all.delete(connection);
    const at = idle.lastIndexOf(connection);
    if (at >= 0) idle.splice(at, 1);
  };

  const giveBack = (connection: UpstreamConnection): void => {
    if (!connection.isUsable) return;
    connection.idleSinceMs = Date.now();
    idle.push(connection);
  };

  const open = (): UpstreamConnection => {
    const connection = new UpstreamConnection({ ...address, maxBodyBytes, onGone, onStreamed: giveBack });
    all.add(connection);
    return connection;
  };

  const takeIdle = (): UpstreamConnection | undefined => {
    for (let kept = idle.pop(); kept; kept = idle.pop()) {
      if (isFresh(kept, Date.now())) return kept;
      kept.destroy();
    }
    return undefined;
  };

  return {
    exchange(request, canRepeat, finish) {
      const kept = request.upload ? undefined : takeIdle();
      let connection = kept ?? open();
      const onOutcome = (outcome: ExchangeOutcome): void => {
        if (outcome.kind === "answered") giveBack(connection);
        finish(outcome);
      };
      const onFirst = (outcome: ExchangeOutcome): void => {
        if (!kept || !canRepeat || outcome.kind !== "failed" || !outcome.heardNothing) return onOutcome(outcome);
        connection = open();
        connection.send(request, onOutcome);
      };
      connection.send(request, onFirst);
      // Its answer may be complete and wait for its reader: then the connection carries another request.
      return () => connection.cancel(request);
    },
    close(reason) {
      for (const connection of all) connection.fail(reason);
      idle.length = 0;
    },
  };
};
