import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { connect, type NatsConnection, PermissionViolationError } from "nats";
import { readCredentialsFile } from "../../services/bus/credentials.ts";
import type { TestNats } from "./nats.ts";

/** A bare client that remembers what the server has refused it. */
export interface WatchedClient {
  readonly nc: NatsConnection;
  /** Does something and gives what the server refused of it, as `publish busker.x`, once the server has seen it all. */
  readonly refusals: (act: (nc: NatsConnection) => void) => Promise<readonly string[]>;
  /** The same for something that takes its time; rejects when `act` does. */
  readonly settle: (act: (nc: NatsConnection) => Promise<void>) => Promise<readonly string[]>;
  readonly close: () => Promise<void>;
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Connects with the text of a creds file. */
export const connectWatched = async (nats: TestNats, creds: string, inboxPrefix: string): Promise<WatchedClient> => {
  const file = join(nats.dataFolder, `${Math.random().toString(36).slice(2)}.creds`);
  await writeFile(file, creds, { mode: 0o600 });
  const nc = await connect({
    servers: nats.url,
    authenticator: readCredentialsFile(file),
    inboxPrefix,
    reconnect: false,
  });
  let seen: string[] = [];
  void (async () => {
    for await (const status of nc.status()) {
      if (status.type !== "error" || !(status.error instanceof PermissionViolationError)) continue;
      seen.push(`${status.error.operation} ${status.error.subject}`);
    }
  })();
  const settle = async (act: (nc: NatsConnection) => Promise<void>): Promise<readonly string[]> => {
    seen = [];
    await act(nc).catch((error: unknown) => {
      throw seen.length === 0 ? error : new Error(`refused: ${seen.join(", ")}`, { cause: error });
    });
    // The server answers a flush after everything that came before it; the status loop needs one more turn.
    await nc.flush();
    await nextTurn();
    return seen;
  };
  return {
    nc,
    refusals: (act) => settle(async () => act(nc)),
    settle,
    close: () => nc.close(),
  };
};
