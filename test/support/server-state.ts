import { readFile } from "node:fs/promises";
import { encodeUser } from "@nats-io/jwt";
import { createUser, fromSeed } from "@nats-io/nkeys";
import { connect, jwtAuthenticator, type NatsConnection } from "nats";
import { trustPaths } from "../../services/bus/trust-files.ts";
import type { TestPlatform } from "./platform.ts";

/** What nats-server counts of itself. */
export interface ServerState {
  readonly subscriptions: () => Promise<number>;
  readonly connections: () => Promise<number>;
  readonly close: () => Promise<void>;
}

const ask = async (nc: NatsConnection, what: string, key: string): Promise<number> => {
  const { data } = (await nc.request(`$SYS.REQ.SERVER.PING.${what}`, "", { timeout: 5000 })).json<{
    data: Record<string, number>;
  }>();
  const count = data[key];
  if (count === undefined) throw new Error(`the server's ${what} has no ${key}`);
  return count;
};

/** Asks a platform's nats-server as its system account, which is what may see everything. */
export const openServerState = async ({ dataFolder, natsUrl }: TestPlatform): Promise<ServerState> => {
  const account = fromSeed(await readFile(trustPaths(dataFolder).systemSeed));
  const user = createUser();
  const jwt = await encodeUser("test", user, account, {});
  const nc = await connect({ servers: natsUrl, authenticator: jwtAuthenticator(jwt, user.getSeed()) });
  return {
    subscriptions: () => ask(nc, "SUBSZ", "num_subscriptions"),
    connections: () => ask(nc, "CONNZ", "num_connections"),
    close: () => nc.close(),
  };
};
