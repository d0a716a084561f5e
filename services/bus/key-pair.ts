import { sign } from "node:crypto";
import { fromSeed, Prefix, type KeyPair } from "@nats-io/nkeys";
import { decodeSeed, encodeKey, publicBytes } from "./nkey.ts";

/**
 * A key pair as @nats-io/jwt takes it, computed by node:crypto: minting a function's user with the library's own takes
 * 58 ms, which every cold start would pay (measured). Throws RangeError when `seed` is not one.
 */
export const openKeyPair = (seed: string): KeyPair => {
  const { prefix, bytes, privateKey } = decodeSeed(seed);
  const publicKey = publicBytes(privateKey);
  const name = encodeKey(prefix, publicKey);
  return Object.assign(fromSeed(Buffer.from(seed)), {
    getPublicKey: () => name,
    getPrivateKey: () => Buffer.from(encodeKey(Prefix.Private, Buffer.concat([bytes, publicKey]))),
    sign: (input: Uint8Array) => sign(null, input, privateKey),
  });
};

/** The text of a key pair's seed. */
export const seedText = (pair: KeyPair): string => Buffer.from(pair.getSeed()).toString();
