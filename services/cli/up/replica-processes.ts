import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { distFolder } from "../paths.ts";

// A watchdog that is told to stop lets its calls finish; on the way down they do not get for ever.
const graceMs = 3000;
const lookMs = 25;

const readText = (file: string): string => {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
};

interface Process {
  readonly pid: number;
  readonly parent: number;
}

const listProcesses = (): Process[] =>
  readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((name) => {
      const stat = readText(`/proc/${name}/stat`);
      return { pid: Number(name), parent: Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]) };
    });

/** Whether a command line is that of a watchdog whose launch file lies in this data folder. */
export const isWatchdogOf = (dataFolder: string, commandLine: readonly string[]): boolean => {
  const at = commandLine.findIndex((word) => word.startsWith(distFolder) && word.endsWith("/watchdog.mjs"));
  return at >= 0 && (commandLine[at + 1]?.startsWith(`${dataFolder}/`) ?? false);
};

const listWatchdogs = (dataFolder: string): Process[] =>
  listProcesses().filter(({ pid }) => isWatchdogOf(dataFolder, readText(`/proc/${pid}/cmdline`).split("\0")));

const withDescendants = (roots: readonly Process[]): number[] => {
  const all = listProcesses();
  const found = roots.map(({ pid }) => pid);
  for (const pid of found) found.push(...all.filter(({ parent }) => parent === pid).map((child) => child.pid));
  return found;
};

const signalAll = (pids: readonly number[], signal: NodeJS.Signals): void => {
  for (const pid of pids)
    try {
      process.kill(pid, signal);
    } catch {
      // It has gone by itself.
    }
};

/**
 * Ends the replicas of a data folder that are still there when the provider has gone: it was killed, or had no time.
 * SIGTERM lets them finish for a moment; then, or with SIGKILL, they end with everything they have started.
 */
export const stopReplicas = async (dataFolder: string, signal: "SIGTERM" | "SIGKILL"): Promise<void> => {
  const endMs = performance.now() + (signal === "SIGTERM" ? graceMs : 0);
  let left = listWatchdogs(dataFolder);
  if (signal === "SIGTERM")
    signalAll(
      left.map(({ pid }) => pid),
      "SIGTERM",
    );
  while (left.length > 0 && performance.now() < endMs) {
    await wait(lookMs);
    left = listWatchdogs(dataFolder);
  }
  signalAll(withDescendants(left), "SIGKILL");
};
