import type { ProcessTree, Usage } from "./process-tree.ts";

// A leak of a gigabyte a second is caught within 256 MB of its limit.
const everyMs = 250;

/** What to watch. */
export interface MemoryWatch {
  readonly tree: ProcessTree;
  readonly limitBytes: number;
  /** Whether the function runs inside the watchdog's own process (mode handler). */
  readonly isInside: boolean;
  /** Called once, with the reason. */
  readonly over: (reason: string) => void;
}

/**
 * What counts against a function's limit: its own processes, and not the watchdog beside them, which its author knows
 * nothing about. Where the function runs inside the watchdog, what that has used beyond its size when idle.
 */
export const usedByFunction = (now: Usage, idleRootBytes: number, isInside: boolean): number =>
  isInside ? Math.max(0, now.memoryBytes - idleRootBytes) : now.memoryBytes - now.rootMemoryBytes;

/** Watches from now on; what the watchdog uses at this moment counts as idle. */
export const watchMemory = ({ tree, limitBytes, isInside, over }: MemoryWatch): void => {
  const idleRootBytes = tree.usage().rootMemoryBytes;
  const timer = setInterval(() => {
    const used = usedByFunction(tree.usage(), idleRootBytes, isInside);
    if (used <= limitBytes) return;
    clearInterval(timer);
    over(`out of memory: the function used ${used} bytes, its limit is ${limitBytes}`);
  }, everyMs);
};
