import { connect, type NatsConnection } from "nats";
import { inboxPrefix } from "../../schemas/subjects.ts";
import { BuskerError } from "../../schemas/errors.ts";
import { coalesceWrites } from "./coalesce-writes.ts";
import { readCredentialsFile } from "./credentials.ts";

/** How to reach the bus. */
export interface BusOptions {
  /** One URL or several, separated by commas. */
  readonly url: string;
  /** Standard NATS credentials; read again at each connect, so that renewed ones are picked up. */
  readonly credentialsFile: string;
  /** The user whose reply prefix is taken: `gateway`, `provider` …, or a replica's id. */
  readonly user: string;
  /** Name shown by the server's connection list. */
  readonly name: string;
}

/** A connection that comes back by itself. JetStream is built on it by `streams.ts`, KV by `kv.ts`, calls by `invoker.ts`. */
export interface Bus {
  readonly nc: NatsConnection;
  readonly user: string;
  /** CloudEvents source of what is published here: `/busker/<name>`. */
  readonly source: string;
  /** False from the moment the server is gone until it is back. */
  readonly isConnected: () => boolean;
  /** Calls `listener` at each loss and each return of the server. Gives a function that takes it away. */
  readonly onChange: (listener: (connected: boolean) => void) => () => void;
  /** Throws `bus_unavailable` while the server is away, so that nothing waits in a buffer unseen. */
  readonly assertConnected: () => void;
  /** Sends what is buffered, then closes. */
  readonly close: () => Promise<void>;
}

// A server that comes back finds its clients within this time; the jitter spreads a thousand replicas.
const reconnectWaitMs = 100;
const reconnectJitterMs = 150;
// Two of these without an answer and the connection counts as dead: a silent peer is noticed within 20 s.
const pingIntervalMs = 10_000;

const watchStatus = (nc: NatsConnection, tell: (connected: boolean) => void): void => {
  void (async () => {
    for await (const status of nc.status()) {
      if (status.type === "disconnect") tell(false);
      if (status.type === "reconnect") tell(true);
    }
  })();
};

/** Connects, trying again for ever while no server answers; rejects with `bus_unavailable` when credentials are refused. */
export const openBus = async (options: BusOptions): Promise<Bus> => {
  const nc = await connect({
    servers: options.url.split(","),
    name: options.name,
    authenticator: readCredentialsFile(options.credentialsFile),
    inboxPrefix: inboxPrefix(options.user),
    maxReconnectAttempts: -1,
    waitOnFirstConnect: true,
    ignoreAuthErrorAbort: true,
    reconnectTimeWait: reconnectWaitMs,
    reconnectJitter: reconnectJitterMs,
    pingInterval: pingIntervalMs,
    maxPingOut: 2,
    noAsyncTraces: true,
  }).catch((cause: unknown) => {
    throw new BuskerError("bus_unavailable", `could not connect to ${options.url} as ${options.user}`, { cause });
  });
  coalesceWrites(nc);
  let connected = true;
  const listeners = new Set<(connected: boolean) => void>();
  watchStatus(nc, (now) => {
    if (now) coalesceWrites(nc);
    if (now === connected) return;
    connected = now;
    for (const listener of listeners) listener(now);
  });
  return {
    nc,
    user: options.user,
    source: `/busker/${options.name}`,
    isConnected: () => connected,
    onChange: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    assertConnected: () => {
      if (!connected) throw new BuskerError("bus_unavailable", "the bus is away: no nats-server answers; it is tried again continuously");
    },
    close: () => (connected ? nc.drain() : nc.close()),
  };
};
