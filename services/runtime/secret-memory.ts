import { createHash } from "node:crypto";
import { join } from "node:path";

/** Linux' own file system in memory. */
export const memoryFolder = "/dev/shm";

/**
 * The folder of one data folder's secrets in a file system in memory: several platforms may run on one machine, and as
 * several users. The provider keeps the secrets of its replicas there; `busker up` removes it when it ends them itself.
 */
export const secretMemory = (dataFolder: string, memory: string = memoryFolder): string =>
  join(memory, `busker-${createHash("sha256").update(dataFolder).digest("hex").slice(0, 16)}`);
