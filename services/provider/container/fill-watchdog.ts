import { existsSync } from "node:fs";
import { chmod, mkdtemp, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { BuskerError } from "../../../schemas/errors.ts";
import { makeWatchdogFolder } from "./watchdog-folder.ts";

/** Its presence says that a folder is whole. */
export const completeMarker = ".complete";

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

/**
 * Puts a watchdog's folder into an existing one, a volume's: made beside, then moved in name by name, the loader and the marker
 * last. Does nothing to one that is whole. Gives the version; throws `conflict` when it is not the one expected.
 */
export const fillWatchdogFolder = async (
  target: string,
  watchdogFile: string,
  expected?: string,
): Promise<{ readonly version: string }> => {
  // On the same file system, so that a move is a rename.
  const draft = await mkdtemp(join(target, ".draft-"));
  try {
    const { path, version } = await makeWatchdogFolder(draft, watchdogFile);
    // What may not be written cannot be moved either, but by a root with all its privileges.
    for (const folder of [path, join(path, "lib")]) await chmod(folder, 0o755);
    if (expected !== undefined && version !== expected)
      throw new BuskerError(
        "conflict",
        `could not fill the watchdog's volume: this image has version ${version}, and ${expected} is wanted; use the image that was made with the provider's`,
      );
    if (existsSync(join(target, completeMarker))) return { version };
    for (const name of (await readdir(path)).toSorted((a, b) => isLast(a) - isLast(b)))
      await moveIn(name, path, target);
    await chmod(join(target, "lib"), 0o555);
    await writeFile(join(target, completeMarker), version, { flush: true });
    return { version };
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
};
