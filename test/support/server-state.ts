import { readFile } from "node:fs/promises";
import { encodeUser } from "@nats-io/jwt";
import { createUser, fromSeed } from "@nats-io/nkeys";
import { connect, jwtAuthenticator, type NatsConnection } from "nats";
import { trustPaths } from "../../services/bus/trust-files.ts";
import type { TestPlatform } from "./platform.ts";

/** What nats-server counts of itself. */
export interface ServerState {
  /** Of all connections; the server's own, such as those of a stream's consumers, are none of them. */
  readonly subscriptions: () => Promise<number>;
  /** The server's numbers of all connections: one that came back has another. */
  readonly connections: () => Promise<readonly number[]>;
  /** Whether a client whose name ends like this has a connection. */
  readonly knows: (nameEnd: string) => Promise<boolean>;
  readonly close: () => Promise<void>;
}

interface Connection {
  readonly cid: number;
  readonly name?: string;
  readonly subscriptions: number;
}

interface ServerReply {
  readonly data: { readonly connections?: readonly Connection[] };
}

const ask = async (nc: NatsConnection, what: string): Promise<ServerReply["data"]> =>
  (await nc.request(`$SYS.REQ.SERVER.PING.${what}`, "", { timeout: 5000 })).json<ServerReply>().data;

/** Asks a platform's nats-server as its system account, which is what may see everything. */
export const openServerState = async ({
  dataFolder,
  natsUrl,
}: Pick<TestPlatform, "dataFolder" | "natsUrl">): Promise<ServerState> => {
  const account = fromSeed(await readFile(trustPaths(dataFolder).systemSeed));
  const user = createUser();
  const jwt = await encodeUser("test", user, account, {});
  const nc = await connect({ servers: natsUrl, authenticator: jwtAuthenticator(jwt, user.getSeed()) });
  const listConnections = async () => {
    const { connections } = await ask(nc, "CONNZ");
    if (!connections) throw new Error("the server does not say which connections it has");
    return connections;
  };
  return {
    subscriptions: async () => (await listConnections()).reduce((sum, { subscriptions }) => sum + subscriptions, 0),
    connections: async () => (await listConnections()).map(({ cid }) => cid).toSorted((a, b) => a - b),
    knows: async (nameEnd) => (await listConnections()).some(({ name }) => name?.endsWith(nameEnd)),
    close: () => nc.close(),
  };
};
