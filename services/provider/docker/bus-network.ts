import { once } from "node:events";
import { createServer } from "node:net";
import type Docker from "dockerode";
import { BuskerError } from "../../../schemas/errors.ts";
import { platformLabel } from "../container/platform-id.ts";

/** What an engine tells of a network: the part that matters to us. */
export interface NetworkFacts {
  readonly Labels?: Readonly<Record<string, string>> | null;
  readonly IPAM?: { readonly Config?: readonly AddressRange[] | null };
}

/** The addresses of a network, and this machine's among them. */
export interface AddressRange {
  readonly Subnet?: string;
  readonly Gateway?: string;
}

const roleLabel = "com.busker.role";

const nameFor = (platform: string): string => `busker-${platform}`;

/** The network of a platform's nats-server; undefined when there is none. */
export const findBusNetwork = async (docker: Docker, platform: string): Promise<NetworkFacts | undefined> => {
  try {
    return (await docker.getNetwork(nameFor(platform)).inspect()) as NetworkFacts;
  } catch (error) {
    if ((error as { statusCode?: number }).statusCode === 404) return undefined;
    throw error;
  }
};

/** Makes it, with these addresses or with ones of the engine's choice. */
export const createBusNetwork = async (
  docker: Docker,
  platform: string,
  range?: AddressRange,
): Promise<NetworkFacts> => {
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

/** A network's addresses, where this machine has one of them. */
export const rangeOf = ({ IPAM }: NetworkFacts): AddressRange | undefined =>
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
  const facts = (await findBusNetwork(docker, platform)) ?? (await createBusNetwork(docker, platform));
  if (facts.Labels?.[platformLabel] !== platform)
    throw new BuskerError("conflict", `there is a network ${name} that is not this platform's; remove or rename it`);
  const address = gatewayOf(facts);
  if (address !== undefined && (await isOfThisMachine(address))) return address;
  throw new BuskerError(
    "unsupported",
    `the engine's networks are not on this machine (${name} has the gateway ${address ?? "none"}), so that containers could not reach nats-server here`,
  );
};

/** Removes every network of a platform; rejects when a container is in one. */
export const removeNetworks = async (docker: Docker, platform: string): Promise<void> => {
  const networks = await docker.listNetworks({ filters: { label: [`${platformLabel}=${platform}`] } });
  for (const { Id } of networks) await docker.getNetwork(Id).remove();
};
