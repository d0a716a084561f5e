import { readFile, stat } from "node:fs/promises";
import { dirname } from "node:path";
import type { ClaimsData, User } from "@nats-io/jwt";
import { BuskerError } from "../../schemas/errors.ts";
import { parseCredentials } from "./credentials.ts";
import { mintPlatformUser, type Signer } from "./mint.ts";
import { platformPermissions, type PlatformUser, platformUsers } from "./permissions.ts";
import { ensureSealingKeys } from "./sealing-keys.ts";
import {
  credentialsPath,
  makeFolderWhole,
  makePrivateFolder,
  removeStaleDrafts,
  replacePrivately,
  trustPaths,
  type TrustPaths,
} from "./trust-files.ts";
import { makeKeys, readKeys } from "./trust-keys.ts";

/** The platform's keys on this machine. */
export interface Trust {
  readonly paths: TrustPaths;
  /** Makes users; the provider opens the same from `paths.signer` alone. */
  readonly signer: Signer;
  readonly credentialsFile: (user: PlatformUser) => string;
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

const claimsOf = (jwt: string): ClaimsData<User> =>
  JSON.parse(Buffer.from(jwt.split(".")[1] ?? "", "base64url").toString()) as ClaimsData<User>;

/** Whether a creds file still is what would be written: same signing key, same permissions. */
const isCurrent = (text: string, signer: Signer, user: PlatformUser): boolean => {
  try {
    const { iss, name, nats } = claimsOf(parseCredentials(text).jwt);
    const { publish, subscribe, denyPublish } = platformPermissions[user];
    const wanted = [signer.key.getPublicKey(), signer.account, user, publish, denyPublish, subscribe];
    const { pub, sub } = nats;
    return (
      JSON.stringify([iss, nats.issuer_account, name, pub?.allow, pub?.deny, sub?.allow]) === JSON.stringify(wanted)
    );
  } catch {
    return false;
  }
};

/** Writes a user's credentials unless they are there: they follow from the keys, so a damaged file is simply made anew. */
const ensureCredentials = async (file: string, signer: Signer, user: PlatformUser): Promise<void> => {
  const present = await readFile(file, "utf8").catch(() => "");
  if (isCurrent(present, signer, user)) return;
  await replacePrivately(file, await mintPlatformUser(signer, user));
};

const openOrMake = async (dataFolder: string): Promise<Trust> => {
  const paths = trustPaths(dataFolder);
  const credentialsFile = (user: PlatformUser): string => credentialsPath(dataFolder, user);
  await makePrivateFolder(dataFolder);
  await removeStaleDrafts(paths.folder);
  if (!(await exists(paths.folder))) await makeFolderWhole(paths.folder, makeKeys);
  const signer = await readKeys(paths);
  await ensureSealingKeys(paths);
  await makePrivateFolder(dirname(credentialsFile("admin")));
  for (const user of platformUsers) await ensureCredentials(credentialsFile(user), signer, user);
  return { paths, signer, credentialsFile };
};

/**
 * Opens the keys of a data folder, made at the first start: operator, system account, account BUSKER and the key of
 * secrets in `trust/`, and credentials of the platform's users in `creds/`. All files are 0600 in folders 0700. The keys appear as a whole or
 * not at all. Throws `internal`, naming the file, when they cannot be read back or written.
 */
export const openTrust = async (dataFolder: string): Promise<Trust> => {
  try {
    return await openOrMake(dataFolder);
  } catch (cause) {
    if (cause instanceof BuskerError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new BuskerError("internal", `could not open the platform's keys in ${dataFolder}: ${reason}`, { cause });
  }
};
