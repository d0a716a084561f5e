import { join } from "node:path";
import type { BundleCache } from "../bundle-cache.ts";
import { makeWatchdogFolder, type WatchdogFolder } from "./watchdog-folder.ts";

/** What replicas have mounted. */
export interface Volumes {
  readonly ensureWatchdogVolume: () => Promise<{ readonly name: string; readonly folder: WatchdogFolder }>;
  readonly ensureBundleVolume: (digest: string) => Promise<{ readonly name: string }>;
  /** Removes what is of none of these bundles. */
  readonly collect: (inUseDigests: ReadonlySet<string>) => Promise<void>;
}

/** Opens them as folders of this machine. */
export const openVolumes = ({
  dataFolder,
  watchdogFile,
  bundles,
}: {
  readonly dataFolder: string;
  readonly watchdogFile: string;
  readonly bundles: BundleCache;
}): Volumes => {
  let watchdog: Promise<WatchdogFolder> | undefined;
  return {
    ensureWatchdogVolume: async () => {
      watchdog ??= makeWatchdogFolder(join(dataFolder, "watchdog"), watchdogFile);
      const folder = await watchdog;
      return { name: folder.path, folder };
    },
    ensureBundleVolume: async (digest) => ({ name: await bundles.fetch(digest) }),
    collect: (inUse) => bundles.collect(inUse),
  };
};
