import { setTimeout as pause } from "node:timers/promises";
import type Docker from "dockerode";
import { BuskerError } from "../../../schemas/errors.ts";
import { type ArchivePart, packArchive } from "./archive.ts";
import { engineReason, engineStatus } from "./engine-error.ts";
import { ensureLocalImage } from "./local-image.ts";
import { platformLabel } from "./platform-id.ts";

/*
 * A volume gets its content by a container that is made and never started: the engine unpacks an archive into its mounts.
 * So it works from inside a container and with an engine elsewhere, and no path of this machine means anything to it.
 *
 * - Whole or not: the folder's own time is set by the archive's last entry. A cut archive leaves another time, and whoever
 *   comes next fills the volume again; no file tells of it to a function that lists its folder.
 * - One at a time: the container's name is the lock, since an engine has each name once. Its holder looks at the time
 *   before it fills, so a volume that is whole, and perhaps mounted, is never written again.
 * - A holder that was killed leaves its container: the next provider of the same platform takes it away at once, others
 *   when it is older than any filling takes.
 */

/** A volume to be made. */
export interface VolumeContent {
  /** Made from the content: what is in a volume of this name never changes. */
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** All that is in it, folders before what they hold. */
  readonly parts: () => Promise<readonly ArchivePart[]>;
}

/** Who fills volumes, and where. */
export interface Filler {
  readonly docker: Docker;
  /** Id of the platform: there is one provider of it at a time. */
  readonly platform: string;
  /** Any image that the engine has. */
  readonly helperImage: () => Promise<string>;
  /** When this provider began, by `performance.now()`. */
  readonly openedMs: number;
  /** How long a filling of another platform may take, in milliseconds; default: a minute. */
  readonly patienceMs?: number;
}

/** Label of the container that fills a volume. */
export const fillsLabel = "com.busker.fills";

/** When a whole volume says that it was modified: a day on which nothing of ours was, 2009-02-13T23:31:30Z. */
export const wholeTime = new Date(1_234_567_890_000);
const mountFolder = "volume";
const wholeMode = 0o555;
const defaultPatienceMs = 60_000;
// A name is taken for a moment before its container can be asked for, and for a moment after it is gone.
const retryMs = 50;
// So many of a holder's times we wait for the lock: by then the fault is another.
const maxHolders = 3;

const lockName = (volume: string): string => `busker-fill-${volume}`;

const createHelper = async ({ docker, platform, helperImage }: Filler, volume: string): Promise<Docker.Container> =>
  docker.createContainer({
    name: lockName(volume),
    Image: await helperImage(),
    Cmd: ["never started"],
    Labels: { [platformLabel]: platform, [fillsLabel]: volume },
    HostConfig: {
      NetworkMode: "none",
      Binds: [`${volume}:/${mountFolder}:nocopy`],
    },
  });

const hasStatus = (error: unknown, ...statuses: readonly number[]): boolean =>
  statuses.includes(engineStatus(error) ?? 0);

const removeContainer = async (container: Docker.Container): Promise<void> => {
  try {
    await container.remove({ force: true });
  } catch (error) {
    // Gone already, or being removed by somebody else.
    if (!hasStatus(error, 404, 409)) throw error;
  }
};

const isWhole = async (helper: Docker.Container): Promise<boolean> => {
  const answer = (await helper.infoArchive({ path: `/${mountFolder}` })) as {
    readonly headers: Readonly<Record<string, string | undefined>>;
    readonly resume: () => void;
  };
  answer.resume();
  const told = Buffer.from(answer.headers["x-docker-container-path-stat"] ?? "", "base64").toString("utf8");
  const { mtime } = JSON.parse(told || "{}") as { readonly mtime?: string };
  return mtime !== undefined && Date.parse(mtime) === wholeTime.getTime();
};

const inMount = (part: ArchivePart): ArchivePart => ({ ...part, name: `${mountFolder}/${part.name}` });

const put = async (helper: Docker.Container, parts: readonly ArchivePart[]): Promise<void> => {
  const last: ArchivePart = { kind: "folder", name: mountFolder, mode: wholeMode, modified: wholeTime };
  const archive = packArchive([...parts.map(inMount), last]);
  try {
    // By the folder above: engines pass over an archive's entry for the very folder that they unpack into.
    await helper.putArchive(archive, { path: "/" });
  } finally {
    // An upload that fails leaves its source open.
    archive.destroy();
  }
};

/** How long ago a container was made, by the engine's own clock. */
const ageOf = async (docker: Docker, created: string): Promise<number> => {
  const { SystemTime } = (await docker.info()) as { readonly SystemTime: string };
  return Date.parse(SystemTime) - Date.parse(created);
};

/** Waits until a container has been removed, for so long at most. */
const untilRemoved = async (container: Docker.Container, withinMs: number): Promise<void> => {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), withinMs);
  try {
    await container.wait({ condition: "removed", abortSignal: abort.signal });
  } catch (error) {
    if (!abort.signal.aborted && !hasStatus(error, 404)) throw error;
  } finally {
    clearTimeout(timer);
  }
};

/** Waits for whoever fills the volume now, or takes away what a dead one has left. */
const untilFree = async (filler: Filler, volume: string): Promise<void> => {
  const holder = filler.docker.getContainer(lockName(volume));
  const found = await holder.inspect().catch((error: unknown) => {
    if (hasStatus(error, 404)) return undefined;
    throw error;
  });
  if (!found) return;
  const ageMs = await ageOf(filler.docker, found.Created);
  const isOfDead =
    found.Config.Labels[platformLabel] === filler.platform && ageMs > performance.now() - filler.openedMs;
  const leftMs = (filler.patienceMs ?? defaultPatienceMs) - ageMs;
  if (!isOfDead && leftMs > 0) await untilRemoved(holder, leftMs);
  // By its id: meanwhile the name may be another's.
  if (isOfDead || leftMs <= 0) await removeContainer(filler.docker.getContainer(found.Id));
};

/** Tries once; false when somebody else has the lock, or has taken it away. */
const attempt = async (filler: Filler, { name, labels, parts }: VolumeContent): Promise<boolean> => {
  // Without effect on one that is there.
  await filler.docker.createVolume({ Name: name, Labels: { ...labels } });
  let helper: Docker.Container;
  try {
    helper = await createHelper(filler, name);
  } catch (error) {
    if (!hasStatus(error, 409)) throw error;
    await untilFree(filler, name);
    return false;
  }
  try {
    if (!(await isWhole(helper))) await put(helper, await parts());
    return true;
  } catch (error) {
    // Taken away by another provider.
    if (hasStatus(error, 404)) return false;
    throw error;
  } finally {
    await removeContainer(helper);
  }
};

/** Makes a volume with this content unless it is there whole. Throws `start_failed` with the engine's own reason. */
export const fillVolume = async (filler: Filler, content: VolumeContent): Promise<void> => {
  try {
    const endMs = performance.now() + maxHolders * (filler.patienceMs ?? defaultPatienceMs);
    while (!(await attempt(filler, content))) {
      if (performance.now() > endMs) throw new Error(`others hold its lock, the container ${lockName(content.name)}`);
      await pause(retryMs);
    }
  } catch (cause) {
    throw new BuskerError("start_failed", `could not make the volume ${content.name}: ${engineReason(cause)}`, {
      cause,
    });
  }
};

/** An image with one empty folder and nothing else: what a container must have that is never started. */
export const ensureHelperImage = (docker: Docker): Promise<string> =>
  ensureLocalImage(docker, {
    name: "busker/helper:1",
    changes: [],
    parts: [{ kind: "folder", name: mountFolder, mode: wholeMode }],
  });
