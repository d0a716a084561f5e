import { setTimeout as pause } from "node:timers/promises";
import {
  type Authenticator,
  AuthorizationError,
  connect,
  ConnectionError,
  type NatsConnection,
  TimeoutError,
} from "nats";
import { inboxPrefix } from "../../schemas/subjects.ts";
import { BuskerError } from "../../schemas/errors.ts";
import { coalesceWrites } from "./coalesce-writes.ts";
import { type CredentialSource, readCredentialsFile } from "./credentials.ts";
import { guardCallbacks } from "./guard-callbacks.ts";
import { reportFault } from "./report-fault.ts";

/** A message as the NATS client hands it over. */
export type { Msg as BusMessage } from "nats";

/** How to reach the bus. */
export interface BusOptions {
  /** One URL or several, separated by commas. */
  readonly url: string;
  /** Path of standard NATS credentials, read again at each connect, so that renewed ones are picked up; or an open source. */
  readonly credentialsFile: string | CredentialSource;
  /** The user whose reply prefix is taken: `gateway`, `provider` …, or a replica's id. */
  readonly user: string;
  /** Name shown by the server's connection list. */
  readonly name: string;
  /** Milliseconds after which to give up when no server has answered; absent: never. */
  readonly giveUpMs?: number;
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
  /** Calls `listener` each time that a server refuses the credentials when this connection tries to come back. */
  readonly onRefused: (listener: () => void) => void;
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

// Between two attempts while no server has answered yet.
const firstConnectWaitMs = 100;

/** Who hears of what happens to a connection. */
interface ConnectionWatch {
  readonly tell: (connected: boolean) => void;
  readonly refused: () => void;
}

const watchStatus = async (nc: NatsConnection, { tell, refused }: ConnectionWatch): Promise<void> => {
  for await (const status of nc.status()) {
    if (status.type === "error" && status.error instanceof AuthorizationError) refused();
    if (status.type === "disconnect") tell(false);
    if (status.type === "reconnect") tell(true);
  }
  // The connection was closed, by its owner or for good.
  tell(false);
};

const isAway = (error: unknown): boolean =>
  error instanceof ConnectionError ||
  error instanceof TimeoutError ||
  // What the operating system says of a host that is not there yet, or gone again in the middle of the handshake.
  (error instanceof Error && "code" in error && /^(E[A-Z]+|EAI_[A-Z]+)$/.test(String(error.code)));

const attempt = (options: BusOptions, authenticator: Authenticator): Promise<NatsConnection> =>
  connect({
    servers: options.url.split(","),
    name: options.name,
    authenticator,
    inboxPrefix: inboxPrefix(options.user),
    maxReconnectAttempts: -1,
    // Once connected, refused credentials may be renewed ones that the server has not met yet: it is tried again.
    ignoreAuthErrorAbort: true,
    reconnectTimeWait: reconnectWaitMs,
    reconnectJitter: reconnectJitterMs,
    pingInterval: pingIntervalMs,
    maxPingOut: 2,
    noAsyncTraces: true,
  });

// Not the library's `waitOnFirstConnect`: that tries refused credentials for ever, too, and says nothing.
const connectPatiently = async (options: BusOptions): Promise<NatsConnection> => {
  const { credentialsFile: source } = options;
  const authenticator = typeof source === "string" ? readCredentialsFile(source) : source.authenticate;
  const endMs = Date.now() + (options.giveUpMs ?? Number.POSITIVE_INFINITY);
  for (;;) {
    try {
      return await attempt(options, authenticator);
    } catch (cause) {
      if (!isAway(cause) || Date.now() >= endMs) {
        const reason = cause instanceof Error ? cause.message : String(cause);
        throw new BuskerError("bus_unavailable", `could not connect to ${options.url} as ${options.user}: ${reason}`, {
          cause,
        });
      }
    }
    await pause(firstConnectWaitMs);
  }
};

/**
 * Connects, trying again while no server answers, for ever or for `giveUpMs`. Rejects with `bus_unavailable` then and when the
 * server refuses the credentials, with `unauthorized` when their file cannot be read.
 */
export const openBus = async (options: BusOptions): Promise<Bus> => {
  const nc = await connectPatiently(options);
  coalesceWrites(nc);
  guardCallbacks(nc);
  let connected = true;
  const listeners = new Set<(connected: boolean) => void>();
  const tell = (now: boolean): void => {
    if (now) coalesceWrites(nc);
    if (now === connected) return;
    connected = now;
    for (const listener of listeners) guarded(listener, now);
  };
  let onRefused = (): void => {};
  void watchStatus(nc, { tell, refused: () => onRefused() });
  return {
    nc,
    user: options.user,
    source: `/busker/${options.name}`,
    isConnected: () => connected,
    onChange: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    onRefused: (listener) => {
      onRefused = listener;
    },
    assertConnected: () => {
      if (!connected)
        throw new BuskerError(
          "bus_unavailable",
          "the bus is away: no nats-server answers; it is tried again continuously",
        );
    },
    close: () => (connected ? nc.drain() : nc.close()),
  };
};

// One that throws must not keep the others from hearing of it.
const guarded = (listener: (connected: boolean) => void, now: boolean): void => {
  try {
    listener(now);
  } catch (cause) {
    reportFault(`a listener failed when the bus ${now ? "came back" : "went away"}`, cause);
  }
};
