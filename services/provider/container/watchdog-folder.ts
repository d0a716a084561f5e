import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { chmod, copyFile, mkdir, open, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { makeFolderWhole, removeStaleDrafts } from "../../bus/trust-files.ts";
import { hashFile } from "./hash-file.ts";
import { findNodeFiles, type NodeFiles } from "./node-files.ts";

/** A folder with all that a watchdog needs in a container that has nothing: mounted at `mountPoint`, read-only. */
export interface WatchdogFolder {
  readonly path: string;
  /** Made from the content: the same files have the same version, on every machine. */
  readonly version: string;
  /** What comes before Node's own flags and its script. */
  readonly node: readonly string[];
}

/** Where containers have the folder: a name that no image uses. */
export const mountPoint = "/.busker";

/*
 * The folder:
 *   loader         the dynamic loader, started by its path: so it does not matter which one the image has, or whether
 *   lib/           the C library and what else Node needs
 *   node
 *   watchdog.mjs
 *   manifest.json  where each file came from, with its hash
 *
 * The loader may be executed but not read. Of a program that its user may not read, the kernel keeps the memory, the
 * environment and the open files from other processes of that user (execve(2), proc(5) on the "dumpable" attribute), and
 * so the watchdog's credentials from the function that runs beside it. That holds for root too once it has lost
 * CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE; a root that has kept them may read everything. It does not
 * hold in mode handler either, where the function's code is in the watchdog itself.
 */

interface Part {
  readonly name: string;
  readonly source: string;
  readonly mode: number;
}

const partsOf = ({ node, loader, libraries }: NodeFiles, watchdogFile: string): readonly Part[] => [
  { name: "loader", source: loader, mode: 0o111 },
  { name: "node", source: node, mode: 0o555 },
  { name: "watchdog.mjs", source: watchdogFile, mode: 0o444 },
  ...[...libraries].map(([name, source]) => ({ name: `lib/${name}`, source, mode: 0o444 })),
];

/** Copies a file through to the disk, so that a folder that has its name is whole after a power failure too. */
const copyThrough = async ({ source, name, mode }: Part, folder: string): Promise<void> => {
  const target = join(folder, name);
  await copyFile(source, target);
  const file = await open(target, "r+");
  try {
    await file.sync();
    await file.chmod(mode);
  } finally {
    await file.close();
  }
};

const versionLength = 16;

/**
 * Makes the folder `<root>/<version>-<arch>` from this process' own Node and the bundled watchdog, unless it is there.
 * Throws `internal` when this Node cannot be used.
 */
export const makeWatchdogFolder = async (root: string, watchdogFile: string): Promise<WatchdogFolder> => {
  const files = findNodeFiles();
  const parts = partsOf(files, watchdogFile);
  const hashes = await Promise.all(parts.map(({ source }) => hashFile(source)));
  const manifest = parts.map(({ name, source }, index) => ({ name, source, sha256: hashes[index] }));
  const text = manifest.map(({ name, sha256 }) => `${sha256} ${name}\n`).sort();
  const version = createHash("sha256").update(text.join("")).digest("hex").slice(0, versionLength);
  const path = join(root, `${version}-${process.arch}`);
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await removeStaleDrafts(path);
  if (!existsSync(path))
    await makeFolderWhole(path, async (draft) => {
      await mkdir(join(draft, "lib"));
      for (const part of parts) await copyThrough(part, draft);
      const told = { version, arch: process.arch, node: process.version, files: manifest };
      await writeFile(join(draft, "manifest.json"), `${JSON.stringify(told, null, 2)}\n`, { mode: 0o444, flush: true });
      for (const folder of [join(draft, "lib"), draft]) await chmod(folder, 0o555);
    });
  return { path, version, node: nodeCommand(files) };
};

const nodeCommand = ({ isMusl }: NodeFiles): readonly string[] => [
  `${mountPoint}/loader`,
  "--library-path",
  `${mountPoint}/lib`,
  // The image's own cache names the image's own libraries. musl has none.
  ...(isMusl ? [] : ["--inhibit-cache"]),
  `${mountPoint}/node`,
];

/** What a container runs: the watchdog, by Node with these flags, with its launch to come by standard input. */
export const watchdogCommand = ({ node }: WatchdogFolder, flags: readonly string[]): readonly string[] => [
  ...node,
  ...flags,
  `${mountPoint}/watchdog.mjs`,
  "-",
];
