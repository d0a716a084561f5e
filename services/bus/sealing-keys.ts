import { createPrivateKey, createPublicKey, generateKeyPairSync, hkdfSync, type KeyObject } from "node:crypto";
import { readFile } from "node:fs/promises";
import { BuskerError } from "../../schemas/errors.ts";
import type { SealedBox, SecretName } from "../../schemas/secret.ts";
import { openValue, sealValue } from "./sealed-box.ts";
import { replacePrivately, type TrustPaths, writeOnce } from "./trust-files.ts";

/** Closes values so that only the provider opens them. */
export type Seal = (secret: SecretName, value: Uint8Array) => SealedBox;

/** Opens what was sealed; throws `internal` for a box of another key or another secret, or one that was changed. */
export type Unseal = (secret: SecretName, box: SealedBox) => Buffer;

const publicText = (key: KeyObject): string => key.export({ type: "spki", format: "pem" }).toString();

const assertX25519 = (key: KeyObject): KeyObject => {
  if (key.asymmetricKeyType === "x25519") return key;
  throw new RangeError(`it must hold an X25519 key; it holds ${key.asymmetricKeyType}`);
};

const readKey = async (file: string, parse: (text: string) => KeyObject): Promise<KeyObject> => {
  try {
    return assertX25519(parse(await readFile(file, "utf8")));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new BuskerError(
      "internal",
      `could not read the key of secrets from ${file}: ${reason}; put the file back from a backup, or move sealing.key and sealing.pub away and set every secret anew`,
      { cause },
    );
  }
};

/** Reads the private half. Throws `internal` naming the file when it cannot. */
export const openUnseal = async (file: string): Promise<Unseal> => {
  const key = await readKey(file, createPrivateKey);
  return (secret, box) => openValue(key, secret, box);
};

/** Gives the key of one replica's secrets: the same at each provider of the data folder, and known to nobody else. */
export type ReplicaSecretKey = (replica: string) => Buffer;

/** Derives the keys of a platform's replicas from the private half. Throws `internal` naming the file when it cannot. */
export const openReplicaSecretKey = async (file: string, platform: string): Promise<ReplicaSecretKey> => {
  const { d = "" } = (await readKey(file, createPrivateKey)).export({ format: "jwk" });
  const secret = Buffer.from(d, "base64url");
  return (replica) => Buffer.from(hkdfSync("sha256", secret, "", `replica-secrets ${platform} ${replica}`, 32));
};

/** Reads the public half. Throws `internal` naming the file when it cannot. */
export const openSeal = async (file: string): Promise<Seal> => {
  const key = await readKey(file, createPublicKey);
  return (secret, value) => sealValue(key, secret, value);
};

const hasFile = (file: string): Promise<boolean> =>
  readFile(file).then(
    () => true,
    (error: NodeJS.ErrnoException) => error.code !== "ENOENT",
  );

const makeKey = (file: string): Promise<void> => {
  const { privateKey } = generateKeyPairSync("x25519");
  return writeOnce(file, privateKey.export({ type: "pkcs8", format: "pem" }).toString());
};

/**
 * Makes the key pair of secrets unless it is there; the public half follows from the private one. A private half that is
 * lost is not replaced as long as the public one tells that there was one: secrets may be sealed for it.
 */
export const ensureSealingKeys = async ({ sealingKey, sealingPublic }: TrustPaths): Promise<void> => {
  if (!(await hasFile(sealingKey)) && !(await hasFile(sealingPublic))) await makeKey(sealingKey);
  const text = publicText(createPublicKey(await readKey(sealingKey, createPrivateKey)));
  const present = await readFile(sealingPublic, "utf8").catch(() => "");
  if (present !== text) await replacePrivately(sealingPublic, text);
};
