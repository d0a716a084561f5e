import type Docker from "dockerode";
import { BuskerError } from "../../../schemas/errors.ts";
import { type ArchivePart, packArchive } from "./archive.ts";
import { engineReason, engineStatus } from "./engine-error.ts";

/** An image of this machine's own files, with no Dockerfile and nothing below it. */
export interface LocalImage {
  /** With a tag that is made from the content. */
  readonly name: string;
  /** Lines of a Dockerfile: ENV, USER, WORKDIR … */
  readonly changes: readonly string[];
  readonly parts: readonly ArchivePart[];
}

const isThere = async (docker: Docker, name: string): Promise<boolean> => {
  try {
    await docker.getImage(name).inspect();
    return true;
  } catch (error) {
    if (engineStatus(error) === 404) return false;
    throw error;
  }
};

const followImport = (docker: Docker, progress: NodeJS.ReadableStream): Promise<void> =>
  new Promise((resolve, reject) => {
    docker.modem.followProgress(progress, (error) => (error ? reject(error) : resolve()));
  });

/** Imports an image into the engine unless it is there, and gives its name. Throws `start_failed` with the engine's reason. */
export const ensureLocalImage = async (docker: Docker, { name, changes, parts }: LocalImage): Promise<string> => {
  const [repo, tag] = name.split(":");
  const archive = packArchive(parts);
  try {
    if (await isThere(docker, name)) return name;
    await followImport(docker, await docker.importImage(archive, { repo, tag, changes }));
    return name;
  } catch (cause) {
    throw new BuskerError("start_failed", `could not make the image ${name}: ${engineReason(cause)}`, { cause });
  } finally {
    archive.destroy();
  }
};
