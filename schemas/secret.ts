import { BuskerError } from "./errors.ts";

/** Largest value of a secret, in bytes. */
export const maxSecretBytes = 1024 * 1024;

/** The variable that tells a function the folder of its secrets, by the name that OpenFaaS's own programs read. */
export const secretMountVariable = "secret_mount_path";

/** A secret and its namespace. */
export interface SecretName {
  readonly namespace: string;
  readonly name: string;
}

// One file name, and the tokens of one key: no slash, no dot at an end or beside another.
const part = "[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?";
const secretNamePattern = new RegExp(`^(?=.{1,253}$)${part}(\\.${part})*$`);

const nameRule =
  "1 to 253 characters of A-Z, a-z, 0-9, -, _ and ., each part between dots beginning and ending with a letter or digit";

/** Whether a secret can have this name. */
export const isSecretName = (value: unknown): value is string =>
  typeof value === "string" && secretNamePattern.test(value);

/** Gives `value` back when a secret can have this name; throws `invalid_request` naming `field` and the rule when not. */
export const checkSecretName = (field: string, value: unknown): string => {
  if (isSecretName(value)) return value;
  throw new BuskerError("invalid_request", `${field} must be ${nameRule}; got ${JSON.stringify(value)}`);
};

/** `name.namespace`: the key of the bucket `secrets`. */
export const formatSecretName = ({ namespace, name }: SecretName): string => `${name}.${namespace}`;

/** Splits a key of the bucket `secrets`, on the last dot: a namespace has none. */
export const parseSecretKey = (key: string): SecretName => {
  const dot = key.lastIndexOf(".");
  return { name: key.slice(0, dot), namespace: key.slice(dot + 1) };
};

/**
 * A value that only the holder of the platform's sealing key can open, and only as the secret that it was sealed for:
 * X25519 with a key pair made for this box, HKDF-SHA256, AES-256-GCM with namespace and name as associated data.
 */
export interface SealedBox {
  /** Which sealing key it was made for: the first 16 hex digits of the public half's SHA-256. */
  readonly key: string;
  /** Public half of the box's own key pair: 32 bytes in base64. */
  readonly ephemeral: string;
  /** Ciphertext and its tag of 16 bytes, in base64. */
  readonly ciphertext: string;
}

/** A value of the bucket `secrets`. */
export interface SecretRecord extends SecretName {
  readonly sealed: SealedBox;
  /** How many values it has had, this one included. */
  readonly version: number;
  /** RFC 3339. */
  readonly createdAt: string;
  /** RFC 3339. */
  readonly updatedAt: string;
}

/** What the provider answers to a request about secrets; without an error it was done. */
export interface SecretAnswer {
  /** The names there are, sorted: of `list` only. */
  readonly names?: readonly string[];
  readonly error?: {
    /** A code of the error catalogue. */
    readonly code: string;
    readonly message: string;
  };
}
