import { randomUUID } from "node:crypto";
import { link, mkdir, mkdtemp, readdir, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

/** Where things are in a data folder. */
export interface TrustPaths {
  /** Folder of all keys and of what nats-server reads. */
  readonly folder: string;
  readonly operatorJwt: string;
  readonly operatorSeed: string;
  readonly systemSeed: string;
  readonly accountSeed: string;
  /** The account's signing key with the account's name: all that the provider needs. */
  readonly signer: string;
  /** What secrets are opened with: the provider alone reads it. */
  readonly sealingKey: string;
  /** What secrets are sealed with. */
  readonly sealingPublic: string;
  /** Folder of account JWTs: nats-server's resolver. */
  readonly accounts: string;
}

/** The files of a trust folder. */
export const trustFiles = (folder: string): TrustPaths => ({
  folder,
  operatorJwt: join(folder, "operator.jwt"),
  operatorSeed: join(folder, "operator.seed"),
  systemSeed: join(folder, "system.seed"),
  accountSeed: join(folder, "account.seed"),
  signer: join(folder, "signer.json"),
  sealingKey: join(folder, "sealing.key"),
  sealingPublic: join(folder, "sealing.pub"),
  accounts: join(folder, "accounts"),
});

/** The files of a data folder's trust. */
export const trustPaths = (dataFolder: string): TrustPaths => trustFiles(join(dataFolder, "trust"));

/** The file of a platform user's credentials. */
export const credentialsPath = (dataFolder: string, user: string): string => join(dataFolder, "creds", `${user}.creds`);

/** Makes a folder that only its owner may enter. */
export const makePrivateFolder = (folder: string): Promise<string | undefined> =>
  mkdir(folder, { recursive: true, mode: 0o700 });

/** Writes a file that only its owner may read, through to the disk. */
export const writePrivately = (file: string, text: string): Promise<void> =>
  writeFile(file, text, { mode: 0o600, flush: true });

/** A name beside a file, for what is to become it. */
const draftOf = (file: string): string => `${file}.${randomUUID()}.new`;

/** Puts a private file in another's place: a reader sees the old or the new, whole. */
export const replacePrivately = async (file: string, text: string): Promise<void> => {
  const draft = draftOf(file);
  await writePrivately(draft, text);
  await rename(draft, file);
};

/** Puts a private file where there is none: of two at once the second keeps the first one's. */
export const writeOnce = async (file: string, text: string): Promise<void> => {
  const draft = draftOf(file);
  await writePrivately(draft, text);
  try {
    // By a link, which never replaces.
    await link(draft, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    await rm(draft);
  }
};

const draftsOf = (folder: string): string => `${basename(folder)}.new-`;

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

/** Removes what starts that were cut short have left: drafts of a folder whose makers are gone. */
export const removeStaleDrafts = async (folder: string): Promise<void> => {
  const names = await readdir(dirname(folder));
  const stale = names.filter(
    (name) => name.startsWith(draftsOf(folder)) && !isAlive(Number.parseInt(name.slice(draftsOf(folder).length), 10)),
  );
  await Promise.all(stale.map((name) => rm(join(dirname(folder), name), { recursive: true, force: true })));
};

/**
 * Makes a private folder as a whole or not at all: `fill` works on a draft that then takes the folder's name. When
 * somebody else was first, theirs stays and the draft goes.
 */
export const makeFolderWhole = async (folder: string, fill: (draft: string) => Promise<void>): Promise<void> => {
  const draft = await mkdtemp(join(dirname(folder), `${draftsOf(folder)}${process.pid}-`));
  try {
    await fill(draft);
    await rename(draft, folder);
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ENOTEMPTY" && code !== "EEXIST") throw error;
  }
};
