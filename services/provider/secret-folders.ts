import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { SecretName } from "../../schemas/secret.ts";
import { describeError, type Log } from "../runtime/log.ts";
import { secretMemory } from "../runtime/secret-memory.ts";
import type { SecretReader } from "./secret-store.ts";

/*
 * The secrets of replicas that are processes: a folder for each replica, a file for each of its secrets, in memory where
 * the machine has a file system there. Everything is small and done at once, so that no update can fall between the
 * reading of a value and the note of who has it.
 */

/** Where the secrets of replicas are, and what keeps them new. */
export interface SecretFolders {
  /** The folder in which a replica finds its secrets: a file for each name. */
  readonly folderOf: (id: string) => string;
  /** Writes a replica's secrets; throws when one cannot be read or written. */
  readonly write: (replica: SecretOwner) => void;
  /** Takes over a replica of an earlier provider, and corrects what has changed since. */
  readonly adopt: (id: string, namespace: string) => void;
  /** Puts a secret's new value into every replica that has it: a reader sees the old or the new, whole. */
  readonly renew: (secret: SecretName) => void;
  readonly remove: (id: string) => void;
  /** Removes what is there of replicas that are not known here. */
  readonly sweep: () => void;
  /** Why secrets are written to a disk; undefined where they are not. */
  readonly onDisk: string | undefined;
}

/** A replica and the secrets it has. */
export interface SecretOwner {
  readonly id: string;
  readonly namespace: string;
  readonly names: readonly string[];
}

/** What secret folders need. */
export interface SecretFoldersOptions {
  readonly dataFolder: string;
  /** Folder of the replicas' own folders: where secrets are when memory is not to be had. */
  readonly replicas: string;
  /** A file system in memory, as far as the machine has one there. */
  readonly memory: string;
  readonly secrets: SecretReader;
  readonly log: Log;
}

// Linux' magic numbers of file systems that are in memory: tmpfs and ramfs (statfs(2)).
const memoryTypes: readonly number[] = [0x01021994, 0x858458f6];

const makeFolder = (folder: string): void => {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
};

// Everybody may make a folder in /dev/shm, and the name is to be guessed: one that is another's, or a link, is not used.
const assertOwn = (folder: string): void => {
  const found = lstatSync(folder);
  const { uid, mode } = found;
  if (!found.isDirectory()) throw new RangeError(`${folder} is not a folder`);
  if (uid !== process.getuid?.()) throw new RangeError(`${folder} is another user's`);
  if ((mode & 0o077) !== 0) throw new RangeError(`${folder} is open to others`);
};

const makeOwnFolder = (folder: string): void => {
  makeFolder(folder);
  assertOwn(folder);
};

const removeIfEmpty = (folder: string): void => {
  try {
    rmdirSync(folder);
  } catch {
    // Somebody still has secrets in it, or nobody had any.
  }
};

const whyNotMemory = (options: SecretFoldersOptions): string | undefined => {
  const { dataFolder, memory } = options;
  const root = secretMemory(dataFolder, memory);
  try {
    if (!memoryTypes.includes(statfsSync(memory).type)) return `${memory} is not in memory (no tmpfs)`;
    makeOwnFolder(root);
    removeIfEmpty(root);
    return undefined;
  } catch (error) {
    return describeError(error);
  }
};

const listFiles = (folder: string): readonly string[] => {
  try {
    return readdirSync(folder);
  } catch (error) {
    // Without secrets there is no folder.
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
};

const isSame = (file: string, value: Buffer): boolean => {
  try {
    return readFileSync(file).equals(value);
  } catch {
    return false;
  }
};

/** Opens the folders; nothing of an earlier provider is touched before `adopt` and `sweep`. */
export const openSecretFolders = (options: SecretFoldersOptions): SecretFolders => {
  const { dataFolder, memory, secrets, log, replicas } = options;
  const onDisk = whyNotMemory(options);
  const root = secretMemory(dataFolder, memory);
  const owners = new Map<string, SecretOwner>();
  const homeOf = (id: string): string => (onDisk === undefined ? join(root, id) : join(replicas, id, "private"));
  const folderOf = (id: string): string => join(homeOf(id), "secrets");

  // Beside the folder and not in it: a function that lists its secrets sees no draft.
  const writeFile = (id: string, secret: SecretName): void => {
    const value = secrets.read(secret);
    const file = join(folderOf(id), secret.name);
    if (isSame(file, value)) return;
    const draft = join(homeOf(id), "draft");
    rmSync(draft, { force: true });
    writeFileSync(draft, value, { mode: 0o400 });
    renameSync(draft, file);
  };
  const renewIn = (id: string, secret: SecretName): void => {
    try {
      writeFile(id, secret);
    } catch (error) {
      log.warn("could not renew a secret in a replica", {
        replica: id,
        secret: secret.name,
        error: describeError(error),
      });
    }
  };

  return {
    folderOf,
    onDisk,
    write: ({ id, namespace, names }) => {
      owners.set(id, { id, namespace, names });
      if (onDisk === undefined) makeOwnFolder(root);
      makeFolder(folderOf(id));
      for (const name of names) writeFile(id, { namespace, name });
    },
    adopt: (id, namespace) => {
      const names = listFiles(folderOf(id));
      owners.set(id, { id, namespace, names });
      for (const name of names) renewIn(id, { namespace, name });
    },
    renew: (secret) => {
      for (const { id, namespace, names } of owners.values())
        if (namespace === secret.namespace && names.includes(secret.name)) renewIn(id, secret);
    },
    remove: (id) => {
      owners.delete(id);
      rmSync(homeOf(id), { recursive: true, force: true });
      if (onDisk === undefined) removeIfEmpty(root);
    },
    sweep: () => {
      if (onDisk !== undefined) return;
      for (const id of listFiles(root)) if (!owners.has(id)) rmSync(join(root, id), { recursive: true, force: true });
      removeIfEmpty(root);
    },
  };
};
