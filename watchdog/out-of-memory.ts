import { readFileSync } from "node:fs";

// Where a container sees its own control group: version 2, and version 1.
const counterFiles: readonly string[] = ["/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"];

const readText = (file: string): string | undefined => {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
};

/** How many processes the kernel has ended for want of memory, from the text of a group's file; undefined when it does not say. */
export const parseOomKills = (text: string): number | undefined => {
  const [, count] = /^oom_kill (\d+)$/m.exec(text) ?? [];
  return count === undefined ? undefined : Number(count);
};

/** Tells of processes that the kernel ends because the replica has outgrown its limit. */
export interface OutOfMemory {
  /** Looks now: before the reason of an end is told. */
  readonly look: () => void;
}

// A count in a file: a look costs some 20 microseconds.
const lookMs = 500;

/**
 * Watches the replica's own control group; `tell` is called with a sentence each time that its count has risen. Does
 * nothing where no group can be read.
 */
export const watchOutOfMemory = (
  limit: string,
  tell: (text: string) => void,
  files: readonly string[] = counterFiles,
): OutOfMemory => {
  const file = files.find((candidate) => parseOomKills(readText(candidate) ?? "") !== undefined);
  const count = (): number => (file === undefined ? 0 : (parseOomKills(readText(file) ?? "") ?? 0));
  let known = count();
  const look = (): void => {
    const now = count();
    if (now > known) tell(`[busker] out of memory: the kernel ended a process of this replica; the limit is ${limit}`);
    known = now;
  };
  if (file !== undefined) setInterval(look, lookMs).unref();
  return { look };
};
