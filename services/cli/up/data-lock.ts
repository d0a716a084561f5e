import { linkSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { BuskerError } from "../../../schemas/errors.ts";

/** Who holds a data folder: a process id alone comes back after a restart of the machine, so its start time is kept. */
interface Holder {
  readonly pid: number;
  readonly startedAt: string;
}

/** When a process was started, in ticks since boot; undefined when there is no such process (proc(5), field 22). */
export const startTimeOf = (pid: number): string | undefined => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The second field is the program's name in parentheses, which may hold spaces and parentheses itself.
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    return undefined;
  }
};

const readHolder = (file: string): Holder | undefined => {
  try {
    const holder = JSON.parse(readFileSync(file, "utf8")) as Holder;
    return startTimeOf(holder.pid) === holder.startedAt ? holder : undefined;
  } catch {
    return undefined;
  }
};

const tryLink = (from: string, to: string): boolean => {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
};

/** A data folder that this process has for itself. */
export interface DataLock {
  readonly release: () => void;
  /** Whether the last holder died without releasing it, so that parts of its platform may still be about. */
  readonly wasStale: boolean;
}

/**
 * Takes a data folder for this process. A lock whose process is gone counts for nothing. Throws `conflict` naming the
 * process that holds it.
 */
export const lockDataFolder = (dataFolder: string): DataLock => {
  const file = join(dataFolder, "up.lock");
  const draft = `${file}.${process.pid}`;
  const own: Holder = { pid: process.pid, startedAt: startTimeOf(process.pid) ?? "" };
  let wasStale = false;
  writeFileSync(draft, JSON.stringify(own), { mode: 0o600 });
  try {
    while (!tryLink(draft, file)) {
      const holder = readHolder(file);
      if (holder)
        throw new BuskerError(
          "conflict",
          `cannot start: \`busker up\` runs on ${dataFolder} already, as process ${holder.pid}`,
        );
      wasStale = true;
      rmSync(file, { force: true });
    }
  } finally {
    rmSync(draft, { force: true });
  }
  return { release: () => rmSync(file, { force: true }), wasStale };
};
