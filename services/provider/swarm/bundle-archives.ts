import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { ObjectStore } from "../../bus/objects.ts";
import { type BundleSize, measureBundle } from "../../runtime/unpack-bundle.ts";
import { shareWork } from "../container/share-work.ts";
import { assertStored, downloadBundle } from "../download-bundle.ts";

/** A part of an archive. */
export interface ArchivePiece {
  readonly part: Buffer;
  /** Bytes of the whole. */
  readonly size: number;
}

/** Archives of bundles on this machine, from which replicas of services are given their code, a part at a time. */
export interface BundleArchives {
  /**
   * What is in a bundle, which is fetched unless it is here. Throws `invalid_request` when there is none, when it is not
   * what it should be, and for what may not be unpacked.
   */
  readonly measure: (digest: string) => Promise<BundleSize>;
  /** Bytes from an offset on, so many or up to the end. Throws as `measure` does. */
  readonly read: (digest: string, offset: number, bytes: number) => Promise<ArchivePiece>;
  /** Removes those that are not among these. One that is asked for after all is fetched again. */
  readonly collect: (inUse: ReadonlySet<string>) => Promise<void>;
}

const ending = ".tar.gz";

/** Opens them in a folder that is their own. */
export const openBundleArchives = async (root: string, store: ObjectStore): Promise<BundleArchives> => {
  await mkdir(root, { recursive: true, mode: 0o700 });
  const nameOf = (digest: string): string => join(root, `${digest}${ending}`);
  // A provider that was killed while it fetched leaves its draft.
  for (const name of await readdir(root)) if (!name.endsWith(ending)) await rm(join(root, name), { force: true });
  const share = shareWork<BundleSize>();
  const sizes = new Map<string, BundleSize>();

  const fetch = async (digest: string): Promise<BundleSize> => {
    const file = nameOf(digest);
    if (existsSync(file)) return measureBundle(file);
    await assertStored(store, digest);
    const draft = join(root, `${randomUUID()}.part`);
    try {
      await downloadBundle(store, digest, draft);
      const size = await measureBundle(draft);
      await rename(draft, file);
      return size;
    } finally {
      await rm(draft, { force: true });
    }
  };
  const measure = async (digest: string): Promise<BundleSize> => {
    const known = sizes.get(digest);
    if (known !== undefined && existsSync(nameOf(digest))) return known;
    const size = await share(digest, () => fetch(digest));
    sizes.set(digest, size);
    return size;
  };
  const readPiece = async (digest: string, offset: number, bytes: number): Promise<ArchivePiece> => {
    const file = await open(nameOf(digest));
    try {
      const { size } = await file.stat();
      const { buffer, bytesRead } = await file.read(Buffer.alloc(Math.max(0, Math.min(bytes, size - offset))), {
        position: offset,
      });
      return { part: buffer.subarray(0, bytesRead), size };
    } finally {
      await file.close();
    }
  };
  return {
    measure,
    read: async (digest, offset, bytes) => {
      await measure(digest);
      return readPiece(digest, offset, bytes);
    },
    collect: async (inUse) => {
      for (const name of await readdir(root)) {
        const digest = name.slice(0, -ending.length);
        if (!name.endsWith(ending) || inUse.has(digest)) continue;
        sizes.delete(digest);
        await rm(join(root, name), { force: true });
      }
    },
  };
};
