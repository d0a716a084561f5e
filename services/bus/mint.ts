import { readFile } from "node:fs/promises";
import { encodeUser, fmtCreds } from "@nats-io/jwt";
import { hkdfSync } from "node:crypto";
import { createUser, type KeyPair, Prefix } from "@nats-io/nkeys";
import { BuskerError } from "../../schemas/errors.ts";
import type { FunctionName } from "../../schemas/names.ts";
import { openKeyPair, seedText } from "./key-pair.ts";
import { encodeSeed } from "./nkey.ts";
import {
  enrolPermissions,
  type Permissions,
  type PlatformUser,
  platformPermissions,
  platformUsers,
  type ReplicaName,
  replicaPermissions,
} from "./permissions.ts";

/** What makes users of the account BUSKER: the account's signing key, which can make users and nothing else. */
export interface Signer {
  /** Public name of the account. */
  readonly account: string;
  readonly key: KeyPair;
}

/** Makes a signer of the text of `trust/signer.json`. Throws when it is not one. */
export const parseSigner = (text: string): Signer => {
  const { account, seed } = JSON.parse(text) as { account?: unknown; seed?: unknown };
  if (typeof account !== "string" || typeof seed !== "string")
    throw new RangeError("a signer has an account and a seed");
  return { account, key: openKeyPair(seed) };
};

/** Opens the signer's file: all the provider needs of the keys. Throws `internal` naming the file when it cannot. */
export const openSigner = async (file: string): Promise<Signer> => {
  try {
    return parseSigner(await readFile(file, "utf8"));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new BuskerError("internal", `could not read the signing key from ${file}: ${reason}`, { cause });
  }
};

interface UserOptions {
  readonly signer: Signer;
  readonly user: string;
  readonly permissions: Permissions;
  /** Absent: for ever. */
  readonly ttlMs?: number;
}

/** The JWT of a user, by its key pair or its public key. */
const signUser = ({ signer, user, permissions, ttlMs }: UserOptions, key: KeyPair | string): Promise<string> => {
  const { publish, subscribe, denyPublish } = permissions;
  const denied = denyPublish === undefined ? {} : { deny: [...denyPublish] };
  const claims = { pub: { allow: [...publish], ...denied }, sub: { allow: [...subscribe] } };
  const validity = ttlMs === undefined ? {} : { exp: Math.ceil((Date.now() + ttlMs) / 1000) };
  return encodeUser(user, key, signer.account, claims, { signer: signer.key, ...validity });
};

const mintUser = async (options: UserOptions, seed = seedText(createUser())): Promise<string> => {
  const pair = openKeyPair(seed);
  return Buffer.from(fmtCreds(await signUser(options, pair), pair)).toString();
};

/** Credentials of one of the platform's own users, valid for ever, as the text of a standard NATS creds file. */
export const mintPlatformUser = (signer: Signer, user: PlatformUser): Promise<string> =>
  mintUser({ signer, user, permissions: platformPermissions[user] });

/** Credentials that may invoke functions and nothing else, for `ttlMs`. */
export const mintInvokeUser = ({
  signer,
  ttlMs,
}: {
  readonly signer: Signer;
  readonly ttlMs: number;
}): Promise<string> => mintUser({ signer, user: "invoke", permissions: platformPermissions.invoke, ttlMs });

/** Whose credentials, and for how long. */
export type FunctionUserOptions = ReplicaName & { readonly signer: Signer; readonly ttlMs: number };

const functionUser = (options: FunctionUserOptions): UserOptions => {
  const { signer, replica, ttlMs } = options;
  if (platformUsers.some((user) => user === replica))
    throw new BuskerError(
      "invalid_request",
      `replica id must not be a user of the platform, whose replies it would get; got "${replica}"`,
    );
  return { signer, user: replica, permissions: replicaPermissions(options), ttlMs };
};

/**
 * Credentials of one replica, for `ttlMs`: it may take and answer calls of its own function and tell of itself
 * (`replicaPermissions`). At their end the server cuts the connection, and the replica comes back with the renewed
 * file. Throws `invalid_request` for names that are none, and for a replica named like one of the platform's users.
 */
export const mintFunctionUser = async (options: FunctionUserOptions): Promise<string> =>
  mintUser(functionUser(options));

/**
 * The JWT that follows a replica's, for the public key of its credentials (`publicKeyOf`): what a replica is sent that
 * keeps its seed in memory. Throws as `mintFunctionUser` does.
 */
export const renewFunctionUser = async (options: FunctionUserOptions, publicKey: string): Promise<string> =>
  signUser(functionUser(options), publicKey);

/** Credentials with which replicas of a function enrol, valid for ever; `user` is the name under which they hear answers. */
export const mintEnrolUser = async ({
  signer,
  ...function_
}: FunctionName & { readonly signer: Signer; readonly user: string }): Promise<string> =>
  mintUser({ signer, user: function_.user, permissions: enrolPermissions(function_) });

/** 32 bytes that only a holder of the signer can make, always the same for one purpose. */
export const deriveFromSigner = ({ key }: Signer, purpose: string): Buffer =>
  Buffer.from(hkdfSync("sha256", key.getSeed(), "", `busker ${purpose}`, 32));

/**
 * The seed of a replica that has enrolled. It follows from its names, so that a provider that comes later can renew what
 * an earlier one has given, and nothing has to be kept.
 */
const enrolledSeed = ({ signer, namespace, name, replica }: ReplicaName & { readonly signer: Signer }): string =>
  encodeSeed(Prefix.User, deriveFromSigner(signer, JSON.stringify(["replica", namespace, name, replica])));

/** As `mintFunctionUser`, for a replica that enrols. */
export const mintEnrolledUser = async (options: FunctionUserOptions): Promise<string> =>
  mintUser(functionUser(options), enrolledSeed(options));

/** The public key of an enrolled replica's credentials: what they are renewed for. */
export const enrolledKey = (options: ReplicaName & { readonly signer: Signer }): string =>
  openKeyPair(enrolledSeed(options)).getPublicKey();
