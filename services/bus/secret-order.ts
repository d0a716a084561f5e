import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import type { SecretOrder } from "../../schemas/invocation.ts";

/*
 * A secret's value on its way to one replica: AES-256-GCM under the key that came with the replica's launch, with a nonce
 * of chance, since one key closes several boxes. The watchdog bundles this file: nothing heavy may be imported here.
 */

const cipher = "aes-256-gcm";
const nonceBytes = 12;
const tagBytes = 16;

/** What a box is for: it does not open for another replica, as another secret or as another version. */
export interface SecretBinding {
  readonly replica: string;
  readonly name: string;
  readonly version: number;
}

const bindingOf = ({ replica, name, version }: SecretBinding): Buffer => Buffer.from(`${replica}\n${name}\n${version}`);

/** Closes a value for one replica. */
export const sealSecretOrder = (key: Uint8Array, binding: SecretBinding, value: Uint8Array): SecretOrder => {
  const nonce = randomBytes(nonceBytes);
  const sealing = createCipheriv(cipher, key, nonce, { authTagLength: tagBytes }).setAAD(bindingOf(binding));
  const box = Buffer.concat([nonce, sealing.update(value), sealing.final(), sealing.getAuthTag()]);
  return { name: binding.name, version: binding.version, box: box.toString("base64") };
};

/** Opens one. Throws RangeError, naming the secret and nothing of what is in it, when it is not for this replica. */
export const openSecretOrder = (key: Uint8Array, replica: string, { name, version, box }: SecretOrder): Buffer => {
  const bytes = Buffer.from(box, "base64");
  try {
    const nonce = bytes.subarray(0, nonceBytes);
    const opening = createDecipheriv(cipher, key, nonce, { authTagLength: tagBytes });
    opening.setAAD(bindingOf({ replica, name, version })).setAuthTag(bytes.subarray(-tagBytes));
    return Buffer.concat([opening.update(bytes.subarray(nonceBytes, -tagBytes)), opening.final()]);
  } catch {
    // Without a cause: what OpenSSL says of it helps nobody.
    throw new RangeError(`version ${version} of secret ${name} was closed for another replica, or has been changed`);
  }
};
