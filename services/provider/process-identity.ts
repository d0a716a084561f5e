import { readdirSync, readFileSync } from "node:fs";

/** A process, told apart from a later one with the same number by its start time. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Ticks since boot: field 22 of `/proc/<pid>/stat` (proc(5)). */
  readonly startTime: string;
}

const readText = (path: string): string => {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // It has ended, or is not ours to see: either way it is none of ours.
    return "";
  }
};

// Fields are counted after the command, which may hold spaces and brackets: state is the third, start time the 22nd.
const statFields = (pid: number): readonly string[] => {
  const stat = readText(`/proc/${pid}/stat`);
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
};

// A zombie has ended; where nobody reaps (a container without an init) it stays for ever.
const isGone = (state: string | undefined): boolean =>
  state === undefined || state === "" || state === "Z" || state === "X";

/** The identity of a process that runs; undefined when there is none. */
export const identify = (pid: number): ProcessIdentity | undefined => {
  const fields = statFields(pid);
  const startTime = fields[19];
  return isGone(fields[0]) || startTime === undefined ? undefined : { pid, startTime };
};

/** Whether this very process still runs. */
export const isAlive = ({ pid, startTime }: ProcessIdentity): boolean => identify(pid)?.startTime === startTime;

/** Whether this very process is there and stopped by a signal. */
export const isStopped = ({ pid, startTime }: ProcessIdentity): boolean => {
  const fields = statFields(pid);
  return fields[0] === "T" && fields[19] === startTime;
};

/** Sends a signal to a process, or to a group by the negative number of its leader; one that is gone is fine. */
export const signalProcess = (pid: number, signal: NodeJS.Signals): void => {
  try {
    process.kill(pid, signal);
  } catch {
    // ESRCH: it has ended, which is as good. EPERM: the number is somebody else's by now.
  }
};

/**
 * Numbers of the processes that were started with this line in their environment. A function's processes are in
 * sessions of their own, so nothing else connects them with a replica whose watchdog was killed.
 */
export const findByEnvironment = (line: string): readonly number[] =>
  readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => `\0${readText(`/proc/${pid}/environ`)}`.includes(`\0${line}\0`))
    .map(Number)
    .filter((pid) => identify(pid) !== undefined);
