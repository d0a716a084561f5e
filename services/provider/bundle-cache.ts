import { randomUUID } from "node:crypto";
import { existsSync, renameSync } from "node:fs";
import { chmod, mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { ObjectStore } from "../bus/objects.ts";
import { assertStored, downloadBundle } from "./download-bundle.ts";
import { unpackBundle } from "../runtime/unpack-bundle.ts";

/** Bundles on this machine, unpacked and read-only, by the SHA-256 of their archive. */
export interface BundleCache {
  /** The folder of a bundle that is here; undefined when it must be fetched first. */
  readonly find: (digest: string) => string | undefined;
  /** Keeps a bundle, here or still to come, from being removed until the function it gives is called. */
  readonly hold: (digest: string) => () => void;
  /** Fetches a bundle unless it is here. Throws `invalid_request` when there is none, or it is not what it should be. */
  readonly fetch: (digest: string) => Promise<string>;
  /** Removes bundles that are neither among these nor held. */
  readonly collect: (inUse: ReadonlySet<string>) => Promise<void>;
}

const digestPattern = /^[0-9a-f]{64}$/;
const draftEnding = ".part";

// Without write permission nobody but root can empty a folder.
const removeTree = async (folder: string): Promise<void> => {
  await makeWritable(folder);
  await rm(folder, { recursive: true, force: true });
};

const makeWritable = async (folder: string): Promise<void> => {
  await chmod(folder, 0o700);
  for (const entry of await readdir(folder, { withFileTypes: true }))
    if (entry.isDirectory()) await makeWritable(join(folder, entry.name));
};

/** Opens the cache in a folder that is its own. */
export const openBundleCache = async (root: string, store: ObjectStore): Promise<BundleCache> => {
  await mkdir(root, { recursive: true, mode: 0o700 });
  // Node looks for a package.json in the folders above: a bundle without one must not get that of Busker itself, which
  // would make its CommonJS files ES modules.
  await writeFile(join(root, "package.json"), "{}\n");
  const known = new Set<string>();
  const holds = new Set<{ readonly digest: string }>();
  for (const name of await readdir(root)) {
    if (digestPattern.test(name)) known.add(name);
    // A provider that was killed while it fetched leaves its draft.
    else if (name.includes(draftEnding))
      await removeTree(join(root, name)).catch(() => rm(join(root, name), { force: true }));
  }
  const pending = new Map<string, Promise<string>>();

  const unpack = async (digest: string): Promise<string> => {
    await assertStored(store, digest);
    const folder = join(root, digest);
    const draft = join(root, `${randomUUID()}${draftEnding}`);
    await mkdir(draft, { mode: 0o700 });
    try {
      await downloadBundle(store, digest, `${draft}.tar.gz`);
      await unpackBundle(`${draft}.tar.gz`, draft);
      await rename(draft, folder);
      await chmod(folder, 0o555);
    } finally {
      await rm(`${draft}.tar.gz`, { force: true });
      // What cannot be removed now goes at the next start; what went wrong before is what matters.
      if (existsSync(draft)) await removeTree(draft).catch(() => {});
    }
    known.add(digest);
    return folder;
  };
  const find = (digest: string): string | undefined => (known.has(digest) ? join(root, digest) : undefined);
  const isHeld = (digest: string): boolean => [...holds].some((hold) => hold.digest === digest);
  // Out of the way at once: the same bundle may be fetched again while this one is being removed.
  const putAside = (digest: string): string => {
    const aside = join(root, `${randomUUID()}${draftEnding}`);
    known.delete(digest);
    renameSync(join(root, digest), aside);
    return aside;
  };
  return {
    find,
    hold: (digest) => {
      const hold = { digest };
      holds.add(hold);
      return () => holds.delete(hold);
    },
    fetch: async (digest) => {
      const present = find(digest) ?? pending.get(digest);
      if (present !== undefined) return present;
      const work = unpack(digest).finally(() => pending.delete(digest));
      pending.set(digest, work);
      return work;
    },
    collect: async (inUse) => {
      const unused = [...known].filter((digest) => !inUse.has(digest) && !isHeld(digest));
      // All before the first wait: by then somebody may have begun to use one.
      for (const aside of unused.map(putAside)) await removeTree(aside);
    },
  };
};
