import { once } from "node:events";
import { chmod, lstat, readdir, realpath } from "node:fs/promises";
import { join, sep } from "node:path";
import { list, type ReadEntry, x as extract } from "tar";
import { BuskerError } from "../../schemas/errors.ts";
import { refuseEntry } from "./archive-entry.ts";

/** Bounds of a bundle once unpacked, so that a small archive cannot fill the disk. */
export interface BundleLimits {
  readonly maxBytes: number;
  readonly maxEntries: number;
}

/** What is in a bundle. */
export interface BundleSize {
  /** Of all files together. */
  readonly bytes: number;
  readonly entries: number;
}

const defaultLimits: BundleLimits = { maxBytes: 2 * 1024 ** 3, maxEntries: 200_000 };

const refusal = (why: string, cause?: unknown): BuskerError =>
  new BuskerError("invalid_request", `could not unpack the bundle: ${why}`, cause === undefined ? {} : { cause });

/** Says what is wrong with the entries it is shown: the first fault is kept. */
const createGuard = (limits: BundleLimits) => {
  let fault: string | undefined;
  let bytes = 0;
  let entries = 0;
  const check = (entry: ReadEntry): string | undefined => {
    entries += 1;
    bytes += entry.size;
    const why = refuseEntry(entry);
    if (why !== undefined) return `its entry ${JSON.stringify(entry.path)} ${why}`;
    if (entries > limits.maxEntries) return `it has more than ${limits.maxEntries} entries`;
    return bytes > limits.maxBytes ? `its content is more than ${limits.maxBytes} bytes` : undefined;
  };
  return {
    see: (entry: ReadEntry): void => {
      fault ??= check(entry);
    },
    fault: () => fault,
    size: (): BundleSize => ({ bytes, entries }),
  };
};

const asRefusal = (cause: unknown): never => {
  throw refusal(cause instanceof Error ? cause.message : String(cause), cause);
};

/** Reads a .tar.gz without writing anything, and gives what is in it. Throws as `unpackBundle` does but for links. */
export const measureBundle = async (archive: string, limits = defaultLimits): Promise<BundleSize> => {
  const guard = createGuard(limits);
  await list({ file: archive, strict: true, onReadEntry: guard.see }).catch((cause: unknown) =>
    asRefusal(guard.fault() ?? cause),
  );
  const fault = guard.fault();
  if (fault !== undefined) throw refusal(fault);
  return guard.size();
};

const writableBits = 0o222;
const specialBits = 0o7000;

// Chained links can lead outside though each one alone stays inside; a dangling one leads nowhere.
const assertInside = async (folder: string, link: string): Promise<void> => {
  const target = await realpath(link).catch(() => undefined);
  if (target === undefined || target === folder || target.startsWith(folder + sep)) return;
  throw refusal(`its link ${JSON.stringify(link.slice(folder.length + 1))} leads out of it`);
};

/** Takes write permission from everything below a folder, and looks where links lead. */
const sealFolder = async (root: string, folder = root): Promise<void> => {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isSymbolicLink()) await assertInside(root, path);
    else if (entry.isDirectory()) await sealFolder(root, path);
    else await chmod(path, (await lstat(path)).mode & ~(writableBits | specialBits) & 0o7777);
  }
  // The root itself stays writable until it has its final name.
  if (folder !== root) await chmod(folder, 0o555);
};

/**
 * Unpacks a .tar.gz into an empty folder, read-only. Throws `invalid_request` for what is no whole archive, an entry or
 * link that reaches outside, anything but files, folders and links, and a content beyond the limits.
 */
export const unpackBundle = async (archive: string, folder: string, limits = defaultLimits): Promise<void> => {
  // All of it before anything is written: a reader that stops half-way still has writes under way.
  await measureBundle(archive, limits);
  await extract({ file: archive, cwd: folder, strict: true, preserveOwner: false }).catch(asRefusal);
  await sealFolder(await realpath(folder));
};

/**
 * Unpacks a .tar.gz while it comes, into an empty folder, read-only. Throws as `unpackBundle` does, and what the content
 * throws; then the folder holds a part of it, for the caller to throw away.
 */
export const unpackBundleStream = async (
  content: AsyncIterable<Uint8Array>,
  folder: string,
  limits = defaultLimits,
): Promise<void> => {
  const guard = createGuard(limits);
  const unpacking = extract({
    cwd: folder,
    strict: true,
    preserveOwner: false,
    filter: (_path, entry) => {
      guard.see(entry as ReadEntry);
      return guard.fault() === undefined;
    },
  });
  const closed = new Promise<void>((resolve, reject) => {
    unpacking.on("close", resolve);
    unpacking.on("error", reject);
  });
  // Heard below, when all has been written.
  closed.catch(() => undefined);
  for await (const chunk of content) {
    const isFull = !unpacking.write(Buffer.from(chunk));
    const fault = guard.fault();
    if (fault !== undefined) throw refusal(fault);
    if (isFull) await Promise.race([once(unpacking, "drain"), closed.catch(asRefusal)]);
  }
  unpacking.end();
  await closed.catch((cause: unknown) => asRefusal(guard.fault() ?? cause));
  const fault = guard.fault();
  if (fault !== undefined) throw refusal(fault);
  await sealFolder(await realpath(folder));
};
