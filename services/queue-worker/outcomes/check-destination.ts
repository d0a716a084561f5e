import { lookup, type LookupAddress } from "node:dns";
import { isIP } from "node:net";
import { BuskerError } from "../../../schemas/errors.ts";
import type { AllowList } from "./allow-list.ts";
import { isPublicAddress } from "./public-address.ts";

/** Gives the addresses of a host name, one at least; rejects when it has none. */
export type Resolve = (host: string) => Promise<readonly LookupAddress[]>;

/** A URL that may be called, and the only addresses at which it may be. */
export interface Destination {
  readonly url: URL;
  readonly addresses: readonly LookupAddress[];
}

const refuse = (url: string, why: string): BuskerError =>
  new BuskerError("destination_refused", `${JSON.stringify(url.slice(0, 500))} is not called: ${why}`);

/** Resolves as the machine does. Those who ask for the same host at the same time share one question. */
export const createResolve = (): Resolve => {
  const asked = new Map<string, Promise<readonly LookupAddress[]>>();
  const ask = (host: string): Promise<readonly LookupAddress[]> =>
    new Promise((resolve, reject) => {
      lookup(host, { all: true, verbatim: true }, (error, addresses) => {
        asked.delete(host);
        if (error) reject(error);
        else resolve(addresses);
      });
    });
  // The machine has four threads for this, whoever asks: a name that takes long must hold one at most.
  return (host) => {
    const known = asked.get(host);
    if (known) return known;
    const question = ask(host);
    asked.set(host, question);
    return question;
  };
};

const parse = (text: string): URL => {
  if (!URL.canParse(text)) throw refuse(text, "it is no URL");
  const url = new URL(text);
  if (url.protocol !== "http:" && url.protocol !== "https:") throw refuse(text, "only http and https are");
  if (url.username !== "" || url.password !== "") throw refuse(text, "it has a user or a password in it");
  return url;
};

/**
 * Checks a URL that somebody has given: its addresses are looked up once, here, and every one of them must be public or allowed. The
 * URL parser has brought numbers such as `0x7f.1` into the usual form before that. Rejects with `destination_refused`, which is
 * final, and with the resolver's own error, which may pass.
 */
export const checkDestination = async (text: string, allow: AllowList, resolve: Resolve): Promise<Destination> => {
  const url = parse(text);
  const host = url.hostname.replaceAll(/[[\]]/g, "");
  const family = isIP(host);
  const addresses = family === 0 ? await resolve(host) : [{ address: host, family }];
  if (addresses.length === 0) throw new Error(`${host} has no address`);
  if (allow.hasHost(host)) return { url, addresses };
  const refused = addresses.find(({ address }) => !isPublicAddress(address) && !allow.hasAddress(address));
  if (refused === undefined) return { url, addresses };
  const where = family === 0 ? `${host} is at ${refused.address}, which` : refused.address;
  throw refuse(text, `${where} is not a public address and not allowed by BUSKER_CALLBACK_ALLOW`);
};
