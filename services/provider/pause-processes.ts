import { readdirSync, readFileSync } from "node:fs";
import { findByEnvironment, identify, isAlive, type ProcessIdentity, signalProcess } from "./process-identity.ts";

const readChildren = (file: string): readonly number[] => {
  try {
    return readFileSync(file, "utf8").split(" ").filter(Boolean).map(Number);
  } catch {
    // The thread has ended: its children are another thread's by now, or nobody's.
    return [];
  }
};

/** Children of every thread: a process that a worker thread has started is that thread's. */
const childrenOf = (pid: number): readonly number[] => {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((thread) => readChildren(`/proc/${pid}/task/${thread}/children`));
  } catch {
    return [];
  }
};

const withDescendants = (pid: number): readonly number[] => [pid, ...childrenOf(pid).flatMap(withDescendants)];

/**
 * Takes all processor time from a process, all below it, and all with this line in their environment (what has lost its
 * parent). Parents first, and again until a look finds nobody new: a process that was sent SIGSTOP cannot finish a fork,
 * so what it had forked before is there at the next look. Gives who was stopped.
 */
export const pauseProcesses = (root: number, line: string): readonly ProcessIdentity[] => {
  const seen = new Set<number>();
  const stopped: ProcessIdentity[] = [];
  for (;;) {
    const fresh = [...withDescendants(root), ...findByEnvironment(line)].filter((pid) => !seen.has(pid));
    if (fresh.length === 0) return stopped;
    for (const pid of fresh) {
      seen.add(pid);
      const identity = identify(pid);
      if (!identity) continue;
      signalProcess(pid, "SIGSTOP");
      stopped.push(identity);
    }
  }
};

/** Gives it back: children first, so that none is found stopped by its parent. */
export const continueProcesses = (stopped: readonly ProcessIdentity[]): void => {
  for (const identity of stopped.toReversed()) if (isAlive(identity)) signalProcess(identity.pid, "SIGCONT");
};

/** Ends them, stopped as they are. */
export const killProcesses = (stopped: readonly ProcessIdentity[]): void => {
  for (const identity of stopped) if (isAlive(identity)) signalProcess(identity.pid, "SIGKILL");
};
