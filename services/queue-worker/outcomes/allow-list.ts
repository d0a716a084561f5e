import { BlockList, isIP } from "node:net";

/** Destinations that are allowed although they are not public. */
export interface AllowList {
  readonly hasHost: (host: string) => boolean;
  readonly hasAddress: (address: string) => boolean;
}

const familyOf = (address: string): "ipv4" | "ipv6" => (isIP(address) === 6 ? "ipv6" : "ipv4");

const hostPattern = /^[a-z0-9_]([a-z0-9_.-]*[a-z0-9_.])?$/;

const addEntry = (entry: string, addresses: BlockList, hosts: Set<string>): void => {
  const [address = "", prefix, ...more] = entry.replaceAll(/[[\]]/g, "").split("/");
  const longest = familyOf(address) === "ipv6" ? 128 : 32;
  if (isIP(address) === 0) {
    if (prefix !== undefined || !hostPattern.test(entry))
      throw new RangeError(`must be *, or host names, addresses and networks such as 10.0.0.0/8, joined by commas`);
    hosts.add(entry);
  } else if (prefix === undefined) addresses.addAddress(address, familyOf(address));
  else if (more.length === 0 && /^\d{1,3}$/.test(prefix) && Number(prefix) <= longest)
    addresses.addSubnet(address, Number(prefix), familyOf(address));
  else throw new RangeError(`must have a prefix of 0 to ${longest} behind ${address}`);
};

/**
 * Reads an allow list: host names, addresses and networks joined by commas, or `*` for every destination. Throws a RangeError that
 * states the rule.
 */
export const parseAllowList = (text: string): AllowList => {
  const addresses = new BlockList();
  const hosts = new Set<string>();
  const entries = text
    .split(",")
    .map((entry) => entry.trim().toLowerCase())
    .filter((entry) => entry !== "");
  const isOpen = entries.includes("*");
  for (const entry of entries) if (entry !== "*") addEntry(entry, addresses, hosts);
  return {
    hasHost: (host) => isOpen || hosts.has(host.toLowerCase()),
    hasAddress: (address) => isOpen || addresses.check(address, familyOf(address)),
  };
};
