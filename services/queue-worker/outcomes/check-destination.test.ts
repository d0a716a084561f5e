import { expect } from "chai";
import type { LookupAddress } from "node:dns";
import { isIP } from "node:net";
import { BuskerError } from "../../../schemas/errors.ts";
import { parseAllowList } from "./allow-list.ts";
import { checkDestination } from "./check-destination.ts";
import { pinnedLookup } from "./pinned-lookup.ts";
import { isPublicAddress } from "./public-address.ts";

const asAddresses = (addresses: readonly string[]): readonly LookupAddress[] =>
  addresses.map((address) => ({ address, family: isIP(address) }));

const names: Readonly<Record<string, readonly string[]>> = {
  "public.test": ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"],
  "private.test": ["10.1.2.3"],
  "mixed.test": ["93.184.216.34", "127.0.0.1"],
  "metadata.test": ["169.254.169.254"],
};

const resolve = async (host: string): Promise<readonly LookupAddress[]> => {
  const found = names[host];
  if (!found) throw Object.assign(new Error(`getaddrinfo ENOTFOUND ${host}`), { code: "ENOTFOUND" });
  return asAddresses(found);
};

const check = (url: string, allow = "") => checkDestination(url, parseAllowList(allow), resolve);

const refusal = async (url: string, allow?: string): Promise<BuskerError> => {
  const error = await check(url, allow).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error, url).to.be.instanceOf(BuskerError);
  return error as BuskerError;
};

const special = [
  "0.0.0.0",
  "10.0.0.1",
  "100.64.0.1",
  "100.127.255.254",
  "127.0.0.1",
  "127.255.255.254",
  "169.254.169.254",
  "172.16.0.1",
  "172.31.251.1",
  "192.0.0.8",
  "192.0.2.1",
  "192.168.1.1",
  "198.18.0.1",
  "198.51.100.1",
  "203.0.113.1",
  "224.0.0.1",
  "239.255.255.255",
  "240.0.0.1",
  "255.255.255.255",
  "::",
  "::1",
  "fe80::1",
  "fe80::1%eth0",
  "febf::1",
  "fec0::1",
  "fc00::1",
  "fdff::1",
  "ff02::1",
  "100::1",
  "2001::1",
  "2001:2::1",
  "2001:db8::1",
  "3fff::1",
  "5f00::1",
  "::ffff:10.0.0.1",
  "::ffff:a9fe:a9fe",
  "::ffff:127.0.0.1",
  "::127.0.0.1",
  "64:ff9b::10.0.0.1",
  "64:ff9b::a9fe:a9fe",
  "64:ff9b:1::1",
  "2002:7f00:1::",
  "2002:a9fe:a9fe::1",
  "2002:c0a8:101::1",
];

const open = [
  "1.1.1.1",
  "9.255.255.255",
  "11.0.0.0",
  "100.63.255.255",
  "100.128.0.0",
  "172.15.255.255",
  "172.32.0.0",
  "192.169.0.1",
  "198.17.255.255",
  "198.20.0.0",
  "223.255.255.255",
  "2606:4700::1111",
  "2a00:1450::1",
  "64:ff9b::1.1.1.1",
  "2002:101:101::1",
  "::ffff:1.1.1.1",
];

describe("isPublicAddress()", () => {
  for (const address of special) it(`says no to ${address}`, () => expect(isPublicAddress(address)).to.equal(false));
  for (const address of open) it(`says yes to ${address}`, () => expect(isPublicAddress(address)).to.equal(true));
});

describe("checkDestination()", () => {
  for (const url of [
    "http://127.0.0.1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0177.0.0.1/",
    "http://127.1/",
    "http://[::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://169.254.169.254/latest/meta-data/",
    "https://private.test/",
    "https://mixed.test/",
    "http://metadata.test:8080/",
    "http://0/",
  ])
    it(`refuses ${url}, because it is inside`, async () => {
      const error = await refusal(url);
      expect(error.code).to.equal("destination_refused");
      expect(error.message).to.include("is not a public address and not allowed by BUSKER_CALLBACK_ALLOW");
    });

  for (const [url, why] of [
    ["ftp://public.test/", "only http and https are"],
    ["file:///etc/passwd", "only http and https are"],
    ["http://me@public.test/", "it has a user or a password in it"],
    ["http://:secret@public.test/", "it has a user or a password in it"],
    ["nonsense", "it is no URL"],
  ] as const)
    it(`refuses ${url}: ${why}`, async () => expect((await refusal(url)).message).to.include(why));

  it("names the address that a name has led to, so that somebody can allow it", async () => {
    expect((await refusal("https://mixed.test/")).message).to.include("mixed.test is at 127.0.0.1, which");
  });

  it("gives all addresses of a public name, because only they may be connected to", async () => {
    const { url, addresses } = await check("https://public.test/a?b=c");
    expect(url.href).to.equal("https://public.test/a?b=c");
    expect(addresses.map(({ address }) => address)).to.deep.equal(names["public.test"]);
  });

  it("leaves a name that cannot be resolved to be tried again", async () => {
    const error = await check("http://missing.test/").catch((reason: unknown) => reason);
    expect(error).to.have.property("code", "ENOTFOUND");
  });

  for (const [allow, url, isAllowed] of [
    ["*", "http://metadata.test/", true],
    ["private.test", "http://private.test/", true],
    ["Private.Test", "http://PRIVATE.test/", true],
    ["private.test", "http://10.1.2.3/", false],
    ["10.0.0.0/8", "http://private.test/", true],
    ["10.1.2.3", "http://private.test/", true],
    ["10.1.2.4", "http://private.test/", false],
    ["10.0.0.0/8", "http://mixed.test/", false],
    ["127.0.0.0/8, 10.0.0.0/8", "http://mixed.test/", true],
    ["::1/128", "http://[::1]/", true],
    ["[::1]", "http://[::1]/", true],
    ["fd00::/8", "http://[fd12::1]/", true],
  ] as const)
    it(`with ${allow} allowed, ${isAllowed ? "gives" : "refuses"} ${url}`, async () => {
      if (isAllowed) expect((await check(url, allow)).addresses).to.not.deep.equal([]);
      else expect((await refusal(url, allow)).code).to.equal("destination_refused");
    });
});

describe("parseAllowList()", () => {
  for (const text of ["10.0.0.0/33", "::/129", "10.0.0.0/8/8", "10.0.0.0/x", "http://a", "a b", "host/8", "-a"])
    it(`refuses ${text}, because it would allow nothing or something else`, () =>
      expect(() => parseAllowList(text)).to.throw(RangeError, /^must /));
});

describe("pinnedLookup()", () => {
  const both = asAddresses(["93.184.216.34", "2606:2800::1"]);

  it("gives the checked addresses whatever name it is asked for, because a name may have changed", () => {
    pinnedLookup(both)("other.test", { all: true }, (error, addresses) => {
      expect(error).to.equal(null);
      expect(addresses).to.deep.equal(both);
    });
    pinnedLookup(both)("other.test", {}, (_error, address, family) =>
      expect([address, family]).to.deep.equal(["93.184.216.34", 4]),
    );
    pinnedLookup(both)("other.test", { family: 6 }, (_error, address) => expect(address).to.equal("2606:2800::1"));
  });

  it("gives an error where none fits", () => {
    pinnedLookup(both.slice(0, 1))("a", { family: 6 }, (error) => expect(error).to.be.instanceOf(Error));
  });
});
