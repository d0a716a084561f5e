import { existsSync } from "node:fs";
import { chmod, mkdtemp, readdir, readFile, rename, rm, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import { BuskerError } from "../../../schemas/errors.ts";
import { wholeTime } from "./fill-volume.ts";
import { makeWatchdogFolder } from "./watchdog-folder.ts";

// What nothing runs without comes last: a container that is early fails at once, and is started again.
const isLast = (name: string): number => Number(name === "loader");

const moveIn = async (name: string, made: string, target: string): Promise<void> => {
  try {
    await rename(join(made, name), join(target, name));
  } catch (error) {
    // Somebody else who fills the same folder was faster with the same content.
    if (!existsSync(join(target, name))) throw error;
  }
};

/** The version that a whole folder has; undefined for one that is not whole. */
const versionOf = async (target: string): Promise<string | undefined> => {
  if ((await stat(target)).mtimeMs !== wholeTime.getTime()) return undefined;
  return (JSON.parse(await readFile(join(target, "manifest.json"), "utf8")) as { readonly version: string }).version;
};

const assertWanted = (version: string, wanted: string | undefined): string => {
  if (wanted === undefined || version === wanted) return version;
  throw new BuskerError(
    "conflict",
    `could not fill the watchdog's volume: this image has version ${version}, and ${wanted} is wanted; use the image that was made with the provider's`,
  );
};

/**
 * Puts a watchdog's folder into an existing one, a volume's: made beside, then moved in name by name, the loader last. When it is
 * whole it has the time of modification that `fillVolume` gives, too; one that is whole is left alone. Gives the version; throws
 * `conflict` when it is not the one wanted.
 */
export const fillWatchdogFolder = async (target: string, watchdogFile: string, wanted?: string): Promise<string> => {
  const present = await versionOf(target);
  if (present !== undefined) return assertWanted(present, wanted);
  // On the same file system, so that a move is a rename.
  const draft = await mkdtemp(join(target, ".draft-"));
  try {
    const { path, version } = await makeWatchdogFolder(draft, watchdogFile);
    // What may not be written cannot be moved either, but by a root with all its privileges.
    for (const folder of [path, join(path, "lib")]) await chmod(folder, 0o755);
    assertWanted(version, wanted);
    for (const name of (await readdir(path)).toSorted((a, b) => isLast(a) - isLast(b)))
      await moveIn(name, path, target);
    await chmod(join(target, "lib"), 0o555);
    await rm(draft, { recursive: true });
    await utimes(target, wholeTime, wholeTime);
    return version;
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
};
