import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
} from "node:crypto";
import { BuskerError } from "../../schemas/errors.ts";
import { formatSecretName, type SealedBox, type SecretName } from "../../schemas/secret.ts";

/*
 * A box that one sender closes and only the key's holder opens: a key pair made for this box (X25519, RFC 7748), its
 * shared secret with the recipient's key stretched by HKDF-SHA256 (RFC 5869), the value under AES-256-GCM. As in HPKE
 * (RFC 9180) both public keys go into the derivation. Key and nonce come of one derivation: each key closes one box.
 */

const keyBytes = 32;
const nonceBytes = 12;
const tagBytes = 16;
const cipher = "aes-256-gcm";

/** What a box is for: under another purpose or another binding it does not open. */
export interface BoxUse {
  readonly purpose: string;
  readonly binding: string;
}

/** The 32 bytes of a public half. */
export const rawPublic = (key: KeyObject): Buffer => Buffer.from(key.export({ format: "jwk" }).x ?? "", "base64url");

/** A public half from its 32 bytes. Throws when it is none. */
export const openRawPublic = (raw: Buffer): KeyObject =>
  createPublicKey({ key: { kty: "OKP", crv: "X25519", x: raw.toString("base64url") }, format: "jwk" });

/** Tells sealing keys apart: the first 16 hex digits of the public half's SHA-256. */
export const sealingKeyId = (publicKey: KeyObject): string =>
  createHash("sha256")
    .update(publicKey.export({ type: "spki", format: "der" }))
    .digest("hex")
    .slice(0, 16);

const deriveKey = (purpose: string, shared: Buffer, ephemeral: Buffer, recipient: Buffer) => {
  const salt = Buffer.concat([ephemeral, recipient]);
  const bytes = Buffer.from(hkdfSync("sha256", shared, salt, purpose, keyBytes + nonceBytes));
  return { key: bytes.subarray(0, keyBytes), nonce: bytes.subarray(keyBytes) };
};

const purposeOfSecrets = "busker secret 1";

const useOf = ({ namespace, name }: SecretName): BoxUse => ({
  purpose: purposeOfSecrets,
  binding: JSON.stringify([purposeOfSecrets, namespace, name]),
});

/** Closes bytes into a box that only the holder of the private half opens, and only for this use. */
export const sealBytes = (publicKey: KeyObject, { purpose, binding }: BoxUse, value: Uint8Array): SealedBox => {
  const own = generateKeyPairSync("x25519");
  const ephemeral = rawPublic(own.publicKey);
  const shared = diffieHellman({ privateKey: own.privateKey, publicKey });
  const { key, nonce } = deriveKey(purpose, shared, ephemeral, rawPublic(publicKey));
  const sealing = createCipheriv(cipher, key, nonce, { authTagLength: tagBytes }).setAAD(Buffer.from(binding));
  const ciphertext = Buffer.concat([sealing.update(value), sealing.final(), sealing.getAuthTag()]);
  return {
    key: sealingKeyId(publicKey),
    ephemeral: ephemeral.toString("base64"),
    ciphertext: ciphertext.toString("base64"),
  };
};

/** Closes a value into a box that only the holder of the private half opens, and only as this secret. */
export const sealValue = (publicKey: KeyObject, secret: SecretName, value: Uint8Array): SealedBox =>
  sealBytes(publicKey, useOf(secret), value);

/** Opens a box. Throws what OpenSSL says when it was closed for another key or use, or has been changed. */
export const openBytes = (privateKey: KeyObject, { purpose, binding }: BoxUse, box: SealedBox): Buffer => {
  const ephemeral = Buffer.from(box.ephemeral, "base64");
  const shared = diffieHellman({ privateKey, publicKey: openRawPublic(ephemeral) });
  const { key, nonce } = deriveKey(purpose, shared, ephemeral, rawPublic(createPublicKey(privateKey)));
  const bytes = Buffer.from(box.ciphertext, "base64");
  const opening = createDecipheriv(cipher, key, nonce, { authTagLength: tagBytes }).setAAD(Buffer.from(binding));
  opening.setAuthTag(bytes.subarray(-tagBytes));
  return Buffer.concat([opening.update(bytes.subarray(0, -tagBytes)), opening.final()]);
};

/**
 * Opens a box. Throws `internal`, naming the secret and nothing of what is in it, when it was closed for another key or
 * another secret, or has been changed.
 */
export const openValue = (privateKey: KeyObject, secret: SecretName, box: SealedBox): Buffer => {
  const what = `could not open secret ${formatSecretName(secret)}`;
  const id = sealingKeyId(createPublicKey(privateKey));
  if (box.key !== id)
    throw new BuskerError(
      "internal",
      `${what}: it was sealed for key ${JSON.stringify(box.key)}, and the key of this data folder is ${id}; update the secret, or put the key back`,
    );
  try {
    return openBytes(privateKey, useOf(secret), box);
  } catch {
    // Without a cause: what OpenSSL says of it helps nobody.
    throw new BuskerError(
      "internal",
      `${what}: it was sealed for another secret, or has been changed; update the secret`,
    );
  }
};
