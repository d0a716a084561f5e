import { BlockList, isIPv4 } from "node:net";

/*
 * Which addresses are of the public internet: IANA's registries of special-purpose addresses (RFC 6890 and its updates),
 * multicast, and the forms in which IPv6 carries an IPv4 address.
 */

const special4: readonly (readonly [network: string, prefix: number])[] = [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.88.99.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 4],
  ["240.0.0.0", 4],
];

// Of what is global unicast: Teredo, benchmarks, ORCHID and the like; documentation.
const special6: readonly (readonly [network: string, prefix: number])[] = [
  ["2001::", 23],
  ["2001:db8::", 32],
  ["3fff::", 20],
];

const specialAddresses = (): BlockList => {
  const list = new BlockList();
  for (const [network, prefix] of special4) list.addSubnet(network, prefix, "ipv4");
  for (const [network, prefix] of special6) list.addSubnet(network, prefix, "ipv6");
  return list;
};

const special = specialAddresses();

const inTwo = (groups: readonly string[]): readonly number[] => groups.map((group) => Number.parseInt(group, 16));

/** The eight groups of an IPv6 address. */
const groupsOf = (address: string): readonly number[] => {
  // The URL parser writes every form in one: hexadecimal, compressed once.
  const text = new URL(`http://[${address}]/`).hostname.slice(1, -1);
  const [head = "", tail] = text.split("::");
  const left = inTwo(head.split(":").filter(Boolean));
  if (tail === undefined) return left;
  const right = inTwo(tail.split(":").filter(Boolean));
  return [...left, ...Array.from({ length: 8 - left.length - right.length }, () => 0), ...right];
};

const toIpv4 = (high = 0, low = 0): string => [high >> 8, high & 255, low >> 8, low & 255].join(".");

/** The IPv4 address that an IPv6 one leads to: mapped, compatible, NAT64 or 6to4; undefined when it is none of these. */
const embeddedIpv4 = (groups: readonly number[]): string | undefined => {
  const [first, second, third, fourth, fifth, sixth, seventh, eighth] = groups;
  if (first === 0x2002) return toIpv4(second, third);
  const isMiddleEmpty = third === 0 && fourth === 0 && fifth === 0;
  if (first === 0x64 && second === 0xff9b && isMiddleEmpty && sixth === 0) return toIpv4(seventh, eighth);
  if (first === 0 && second === 0 && isMiddleEmpty && (sixth === 0 || sixth === 0xffff)) return toIpv4(seventh, eighth);
  return undefined;
};

/** Whether an IP address is one of the public internet. A zone behind it does not matter. */
export const isPublicAddress = (text: string): boolean => {
  const [address = ""] = text.split("%");
  if (isIPv4(address)) return !special.check(address, "ipv4");
  const groups = groupsOf(address);
  const inner = embeddedIpv4(groups);
  if (inner !== undefined) return !special.check(inner, "ipv4");
  const isGlobalUnicast = (groups[0] ?? 0) >> 13 === 1;
  return isGlobalUnicast && !special.check(address, "ipv6");
};
