import { readFileSync } from "node:fs";
import { sign, type KeyObject } from "node:crypto";
import type { Authenticator } from "nats";
import { BuskerError } from "../../schemas/errors.ts";
import { decodeSeed } from "./nkey.ts";

/*
 * How a process proves who it is. The watchdog bundles this file: nothing heavy may be imported here.
 */

/** Who a process is, and the key that proves it. */
export interface Credentials {
  readonly jwt: string;
  readonly privateKey: KeyObject;
}

const block = (text: string, title: string): string | undefined =>
  new RegExp(`-----BEGIN ${title}-----\\s+(\\S+)\\s+-{5,6}END ${title}-{5,6}`).exec(text)?.[1];

/** Reads the text of a NATS creds file. Throws RangeError when it is not one. */
export const parseCredentials = (text: string): Credentials => {
  const jwt = block(text, "NATS USER JWT");
  const seed = block(text, "USER NKEY SEED");
  if (!jwt || !seed) throw new RangeError("a credentials file holds a NATS USER JWT and a USER NKEY SEED");
  return { jwt, privateKey: decodeSeed(seed).privateKey };
};

const readCredentials = (file: string): Credentials => {
  try {
    return parseCredentials(readFileSync(file, "utf8"));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new BuskerError("unauthorized", `could not read NATS credentials from ${file}: ${reason}`, { cause });
  }
};

/**
 * An authenticator for `connect` that reads the file again at each connect and reconnect, so that renewed credentials
 * are picked up. Throws `unauthorized` at once, naming the file, when it cannot be read now. Later it keeps to the last
 * that could be read: the client closes for good when its authenticator throws, and a file that is being replaced must
 * not end a replica.
 */
export const readCredentialsFile = (file: string): Authenticator => {
  let last = readCredentials(file);
  return (nonce) => {
    try {
      last = readCredentials(file);
    } catch {
      // The server decides whether the last ones still count.
    }
    const signature = sign(null, Buffer.from(nonce ?? ""), last.privateKey);
    return { jwt: last.jwt, nkey: "", sig: signature.toString("base64url") };
  };
};
