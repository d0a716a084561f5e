import { once } from "node:events";
import { createServer } from "node:net";
import type Docker from "dockerode";
import { BuskerError } from "../../../schemas/errors.ts";
import { engineReason } from "../container/engine-error.ts";
import { platformLabel } from "../container/platform-id.ts";
import type { Log } from "../../runtime/log.ts";

/** What an engine tells of a network: the part that matters to us. */
interface NetworkFacts {
  readonly Labels?: Readonly<Record<string, string>> | null;
  readonly IPAM?: { readonly Config?: readonly AddressRange[] | null };
}

interface AddressRange {
  readonly Subnet?: string;
  readonly Gateway?: string;
}

/** Whose network is kept. */
export interface BusNetworkKeeping {
  readonly docker: Docker;
  readonly platform: string;
  readonly log: Log;
}

const roleLabel = "com.busker.role";

const inspect = async (docker: Docker, name: string): Promise<NetworkFacts | undefined> => {
  try {
    return (await docker.getNetwork(name).inspect()) as NetworkFacts;
  } catch (error) {
    if ((error as { statusCode?: number }).statusCode === 404) return undefined;
    throw error;
  }
};

const nameFor = (platform: string): string => `busker-${platform}`;

const create = async (docker: Docker, platform: string, range?: AddressRange): Promise<NetworkFacts> => {
  const network = await docker.createNetwork({
    Name: nameFor(platform),
    Driver: "bridge",
    CheckDuplicate: true,
    Labels: { [platformLabel]: platform, [roleLabel]: "bus" },
    ...(range && { IPAM: { Driver: "default", Config: [{ ...range }] } }),
  });
  return (await network.inspect()) as NetworkFacts;
};

// Tried and not looked up: Node does not list the address of a bridge that nothing is plugged into yet.
const isOfThisMachine = async (address: string): Promise<boolean> => {
  const server = createServer().listen(0, address);
  try {
    await once(server, "listening");
    return true;
  } catch {
    return false;
  } finally {
    server.close();
  }
};

const rangeOf = ({ IPAM }: NetworkFacts): AddressRange | undefined =>
  IPAM?.Config?.find(({ Gateway }) => Gateway !== undefined);

// Some engines write the address with the length of its prefix.
const gatewayOf = (facts: NetworkFacts): string | undefined => rangeOf(facts)?.Gateway?.replace(/\/.*$/, "");

/**
 * Makes the network of which this machine has an address that containers of every other bridge reach too, unless it is
 * there; gives the address. Nobody but containers and this machine reaches it. Throws `unsupported` when the engine's
 * bridges are not this machine's.
 */
export const ensureBusNetwork = async (docker: Docker, platform: string): Promise<string> => {
  const name = nameFor(platform);
  const facts = (await inspect(docker, name)) ?? (await create(docker, platform));
  if (facts.Labels?.[platformLabel] !== platform)
    throw new BuskerError("conflict", `there is a network ${name} that is not this platform's; remove or rename it`);
  const address = gatewayOf(facts);
  if (address !== undefined && (await isOfThisMachine(address))) return address;
  throw new BuskerError(
    "unsupported",
    `the engine's networks are not on this machine (${name} has the gateway ${address ?? "none"}), so that containers could not reach nats-server here`,
  );
};

/**
 * Remembers the network that `ensureBusNetwork` has made, and gives what makes it again with the same address when somebody
 * has removed it: no container is ever in it, so that `docker network prune` takes it, and nats-server with it out of
 * everybody's reach. Does nothing where there is none: nats-server listens elsewhere.
 */
export const keepBusNetwork = async ({ docker, platform, log }: BusNetworkKeeping): Promise<() => Promise<void>> => {
  const name = nameFor(platform);
  const facts = await inspect(docker, name);
  const range = facts && rangeOf(facts);
  if (!range || facts.Labels?.[platformLabel] !== platform) return async () => {};
  const { Subnet, Gateway } = range;
  return async () => {
    if (await inspect(docker, name)) return;
    const again = { ...(Subnet !== undefined && { Subnet }), ...(Gateway !== undefined && { Gateway }) };
    try {
      await create(docker, platform, again);
      log.warn("the network on which nats-server listens was removed; made it again", { network: name });
    } catch (cause) {
      log.warn("could not make the network again on which nats-server listens; it is tried again", {
        network: name,
        error: engineReason(cause),
      });
    }
  };
};

/** Removes every network of a platform; rejects when a container is in one. */
export const removeNetworks = async (docker: Docker, platform: string): Promise<void> => {
  const networks = await docker.listNetworks({ filters: { label: [`${platformLabel}=${platform}`] } });
  for (const { Id } of networks) await docker.getNetwork(Id).remove();
};
