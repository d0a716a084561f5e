import type Docker from "dockerode";
import { BuskerError } from "../../../schemas/errors.ts";
import type { BundleCache } from "../bundle-cache.ts";
import { type ArchivePart, listFolder } from "./archive.ts";
import { engineReason, engineStatus } from "./engine-error.ts";
import { ensureHelperImage, fillVolume, type VolumeContent } from "./fill-volume.ts";
import { platformLabel } from "./platform-id.ts";
import { shareWork } from "./share-work.ts";
import type { WatchdogFolder } from "./watchdog-folder.ts";

/** The volumes from which containers get what is not in their image: the watchdog, and a bundle. */
export interface Volumes {
  /** The watchdog's, to be mounted read-only at `mountPoint`. */
  readonly ensureWatchdogVolume: () => Promise<{ readonly name: string; readonly folder: WatchdogFolder }>;
  /** A bundle's, to be mounted read-only; fetches the bundle where need be. Throws as `BundleCache.fetch` does. */
  readonly ensureBundleVolume: (digest: string) => Promise<{ readonly name: string }>;
  /**
   * Removes bundles that are neither among these nor held in the cache, their volumes, and those of other watchdogs; of this
   * platform alone, and none that a container has.
   */
  readonly collect: (inUse: ReadonlySet<string>) => Promise<void>;
}

/** What volumes need. */
export interface VolumesOptions {
  readonly docker: Docker;
  readonly platform: string;
  /** Makes the folder; asked for once, at the first need. */
  readonly watchdogFolder: () => Promise<WatchdogFolder>;
  readonly bundles: BundleCache;
  /** Any image that the engine has; default: one that is made for it. */
  readonly helperImage?: () => Promise<string>;
}

const watchdogPrefix = "busker-watchdog-";
const kindLabel = "com.busker.volume";
const digestLabel = "com.busker.bundle";
const digestCharacters = 16;

// Its mode is what keeps the watchdog's memory from the function: not left to what a disk has kept.
const withLoaderMode = (part: ArchivePart): ArchivePart =>
  part.kind === "file" && part.name === "loader" ? { ...part, mode: 0o111 } : part;

const listWatchdog = async ({ path }: WatchdogFolder): Promise<readonly ArchivePart[]> =>
  (await listFolder(path)).map(withLoaderMode);

/** What tells a volume from another that has its name: someone may have removed it, and an engine made an empty one. */
const readIdentity = async (docker: Docker, name: string): Promise<string | undefined> => {
  try {
    const found = (await docker.getVolume(name).inspect()) as { readonly CreatedAt?: string; readonly Labels: unknown };
    return JSON.stringify([found.CreatedAt, found.Labels]);
  } catch (error) {
    if (engineStatus(error) === 404) return undefined;
    throw error;
  }
};

/** Opens the volumes of one platform; nothing is asked of the engine before the first need. */
export const openVolumes = (options: VolumesOptions): Volumes => {
  const { docker, platform, bundles } = options;
  const shareImage = shareWork<string>();
  const { helperImage = () => shareImage("helper", () => ensureHelperImage(docker)) } = options;
  const filler = { docker, platform, helperImage, openedMs: performance.now() };
  const share = shareWork<void>();
  const whole = new Map<string, string>();
  let folder: Promise<WatchdogFolder> | undefined;

  const fill = async (content: VolumeContent): Promise<void> => {
    const { name } = content;
    const known = whole.get(name);
    if (known !== undefined && known === (await readIdentity(docker, name))) return;
    await fillVolume(filler, content);
    const identity = await readIdentity(docker, name);
    if (identity !== undefined) whole.set(name, identity);
  };
  const ensure = (content: VolumeContent): Promise<void> => share(content.name, () => fill(content));
  const labelsOf = (kind: string, more: Record<string, string> = {}): Record<string, string> => ({
    [platformLabel]: platform,
    [kindLabel]: kind,
    ...more,
  });
  const nameBundle = (digest: string): string => `busker-bundle-${digest.slice(0, digestCharacters)}-${platform}`;
  const makeFolder = (): Promise<WatchdogFolder> =>
    (folder ??= options.watchdogFolder().catch((error: unknown) => {
      folder = undefined;
      throw error;
    }));
  const nameWatchdog = ({ version }: WatchdogFolder): string => `${watchdogPrefix}${version}-${process.arch}`;

  const isBundleInUse = (digest: string, inUse: ReadonlySet<string>): boolean =>
    inUse.has(digest) || bundles.find(digest) !== undefined;
  // Before the first need nobody knows which watchdog is ours.
  const isWatchdogInUse = async (name: string): Promise<boolean> =>
    folder === undefined || name === nameWatchdog(await folder);

  return {
    ensureWatchdogVolume: async () => {
      const made = await makeFolder();
      const name = nameWatchdog(made);
      await ensure({ name, labels: labelsOf("watchdog"), parts: () => listWatchdog(made) });
      return { name, folder: made };
    },
    ensureBundleVolume: async (digest) => {
      const name = nameBundle(digest);
      const release = bundles.hold(digest);
      try {
        const labels = labelsOf("bundle", { [digestLabel]: digest });
        // Always, though the volume may be there: what is in the cache and held is not collected.
        const bundle = await bundles.fetch(digest);
        await ensure({ name, labels, parts: () => listFolder(bundle) });
      } finally {
        release();
      }
      return { name };
    },
    collect: async (inUse) => {
      await bundles.collect(inUse);
      const filters = { label: [`${platformLabel}=${platform}`, kindLabel] };
      const { Volumes: found } = await docker.listVolumes({ filters: JSON.stringify(filters) });
      for (const { Name, Labels } of found) {
        const digest = Labels[digestLabel];
        const isNeeded = digest === undefined ? await isWatchdogInUse(Name) : isBundleInUse(digest, inUse);
        if (!isNeeded) await removeVolume(docker, Name);
      }
    },
  };
};

/** Removes a volume that no container has. */
const removeVolume = async (docker: Docker, name: string): Promise<void> => {
  try {
    await docker.getVolume(name).remove();
  } catch (error) {
    // A container has it, stopped or not; or it is gone.
    if (engineStatus(error) === 409 || engineStatus(error) === 404) return;
    throw new BuskerError("internal", `could not remove the volume ${name}: ${engineReason(error)}`, { cause: error });
  }
};
