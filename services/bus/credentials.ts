import { readFileSync } from "node:fs";
import { sign, type KeyObject } from "node:crypto";
import type { Authenticator } from "nats";
import { BuskerError } from "../../schemas/errors.ts";
import { decodeSeed } from "./nkey.ts";

/*
 * How a process proves who it is. The watchdog bundles this file: nothing heavy may be imported here.
 */

/** Where a process has its credentials. */
export interface CredentialSource {
  /** Proves who it is, at each connect. */
  readonly authenticate: Authenticator;
  /** The user JWT as it is now. */
  readonly jwt: () => string;
}

/** Credentials that are in memory and nowhere else. */
export interface HeldCredentials extends CredentialSource {
  /** From the next connect on, with this JWT for the same key. Throws RangeError when it is not for that key. */
  readonly renew: (jwt: string) => void;
}

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

/** The public key that a user JWT is for. Throws RangeError when it is not one. */
export const publicKeyOf = (jwt: string): string => {
  const claims: unknown = JSON.parse(Buffer.from(jwt.split(".")[1] ?? "", "base64url").toString("utf8") || "null");
  const subject = typeof claims === "object" && claims !== null && "sub" in claims ? claims.sub : undefined;
  if (typeof subject !== "string") throw new RangeError("not a user JWT");
  return subject;
};

const prove = ({ jwt, privateKey }: Credentials, nonce: string | undefined): ReturnType<Authenticator> => {
  const signature = sign(null, Buffer.from(nonce ?? ""), privateKey);
  return { jwt, nkey: "", sig: signature.toString("base64url") };
};

/** Keeps the credentials of a creds file's text in memory. Throws RangeError when it is not one. */
export const holdCredentials = (text: string): HeldCredentials => {
  let held = parseCredentials(text);
  const key = publicKeyOf(held.jwt);
  return {
    authenticate: (nonce) => prove(held, nonce),
    jwt: () => held.jwt,
    renew: (jwt) => {
      if (publicKeyOf(jwt) !== key) throw new RangeError("a renewed user JWT must be for the key in use");
      held = { ...held, jwt };
    },
  };
};

/** Credentials in a file that is renewed in place: `readCredentialsFile`, and the JWT that is in it now. */
export const openCredentialsFile = (file: string): CredentialSource => ({
  authenticate: readCredentialsFile(file),
  jwt: () => readCredentials(file).jwt,
});

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
    return prove(last, nonce);
  };
};
