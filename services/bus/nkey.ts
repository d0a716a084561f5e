import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";

/*
 * The text form of NATS keys: base32 of prefix bytes, key and CRC-16 (https://github.com/nats-io/nkeys).
 * Apart from @nats-io/nkeys because that one computes Ed25519 in plain JavaScript: some 5 ms a signature, in every
 * cold start, where node:crypto takes 0.1 ms; and because the watchdog bundles this file.
 */

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const seedMarker = 18 << 3;
const seedBytes = 32;
// DER of an Ed25519 private key up to the seed itself (RFC 8410 §7).
const pkcs8Head = Buffer.from("302e020100300506032b657004220420", "hex");

const encodeBase32 = (bytes: Uint8Array): string => {
  let text = "";
  let bits = 0;
  let value = 0;
  for (const byte of bytes) {
    value = ((value << 8) | byte) & 0xfff;
    for (bits += 8; bits >= 5; bits -= 5) text += alphabet[(value >> (bits - 5)) & 31] ?? "";
  }
  return bits === 0 ? text : text + (alphabet[(value << (5 - bits)) & 31] ?? "");
};

const decodeBase32 = (text: string): Buffer => {
  const bytes: number[] = [];
  let bits = 0;
  let value = 0;
  for (const char of text) {
    const digit = alphabet.indexOf(char);
    if (digit < 0) throw new RangeError("not base32");
    value = ((value << 5) | digit) & 0xfff;
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    bytes.push((value >> bits) & 0xff);
  }
  return Buffer.from(bytes);
};

// CRC-16/XMODEM, as nkeys uses it.
const crc16 = (bytes: Uint8Array): number => {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit += 1) crc = ((crc << 1) ^ (crc & 0x8000 ? 0x1021 : 0)) & 0xffff;
  }
  return crc;
};

/** The text of a key: prefix byte and key bytes, with their checksum. */
export const encodeKey = (prefix: number, key: Uint8Array): string => {
  const body = Buffer.from([prefix, ...key]);
  const checksum = Buffer.alloc(2);
  checksum.writeUInt16LE(crc16(body));
  return encodeBase32(Buffer.concat([body, checksum]));
};

/** The text of a seed: `prefix` is that of its public key, `bytes` are the key's 32. */
export const encodeSeed = (prefix: number, bytes: Uint8Array): string => {
  const body = Buffer.from([seedMarker | (prefix >> 5), (prefix & 31) << 3, ...bytes]);
  const checksum = Buffer.alloc(2);
  checksum.writeUInt16LE(crc16(body));
  return encodeBase32(Buffer.concat([body, checksum]));
};

/** A seed taken apart: the prefix of its public key (what kind of key it is), its 32 bytes, and the key to sign with. */
export interface Seed {
  readonly prefix: number;
  readonly bytes: Buffer;
  readonly privateKey: KeyObject;
}

/** Reads the text of a seed (`SU…`, `SA…`, `SO…`). Throws RangeError when it is not one; never repeats it in the message. */
export const decodeSeed = (text: string): Seed => {
  const raw = decodeBase32(text);
  const body = raw.subarray(0, 2 + seedBytes);
  const [first = 0, second = 0] = raw;
  if (raw.length !== 4 + seedBytes || (first & 0xf8) !== seedMarker) throw new RangeError("not a NATS seed");
  if (raw.readUInt16LE(2 + seedBytes) !== crc16(body)) throw new RangeError("a NATS seed with a wrong checksum");
  const bytes = body.subarray(2);
  return {
    prefix: ((first & 7) << 5) | ((second & 0xf8) >> 3),
    bytes,
    privateKey: createPrivateKey({ key: Buffer.concat([pkcs8Head, bytes]), format: "der", type: "pkcs8" }),
  };
};

/** The 32 bytes of the public key that belongs to a private one. */
export const publicBytes = (privateKey: KeyObject): Buffer =>
  Buffer.from(createPublicKey(privateKey).export({ format: "jwk" }).x ?? "", "base64url");
