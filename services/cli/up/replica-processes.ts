import { readdirSync, readFileSync, rmSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { secretMemory } from "../../runtime/secret-memory.ts";

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

/**
 * Whether a process belongs to a replica of this data folder: a watchdog is started with its launch file, and what the
 * function starts inherits the replica's own temporary folder.
 */
export const isOfReplica = (dataFolder: string, commandLine: string, environment: string): boolean => {
  const replicas = `${dataFolder}/replicas/`;
  const isWatchdog = commandLine.split("\0").some((word) => word.startsWith(replicas) && word.endsWith("/launch.json"));
  return isWatchdog || environment.split("\0").some((entry) => entry.startsWith(`TMPDIR=${replicas}`));
};

const listReplicaProcesses = (dataFolder: string): number[] =>
  readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => isOfReplica(dataFolder, readText(`/proc/${pid}/cmdline`), readText(`/proc/${pid}/environ`)))
    .map(Number);

const signalAll = (pids: readonly number[], signal: NodeJS.Signals): void => {
  for (const pid of pids)
    try {
      process.kill(pid, signal);
    } catch {
      // It has gone by itself.
    }
};

/** Ends every process of the replicas of a data folder at once, and removes what secrets they had in memory. */
export const killReplicas = (dataFolder: string): void => {
  signalAll(listReplicaProcesses(dataFolder), "SIGKILL");
  rmSync(secretMemory(dataFolder), { recursive: true, force: true });
};

/**
 * Ends the replicas of a data folder that are still there when the provider has gone: it was killed, or had no time.
 * SIGTERM lets them finish for a moment; then they end with everything they have started.
 */
export const stopReplicas = async (dataFolder: string): Promise<void> => {
  const endMs = performance.now() + graceMs;
  const pids = listReplicaProcesses(dataFolder);
  signalAll(pids, "SIGTERM");
  // What is frozen hears nothing before.
  signalAll(pids, "SIGCONT");
  while (listReplicaProcesses(dataFolder).length > 0 && performance.now() < endMs) await wait(lookMs);
  killReplicas(dataFolder);
};
