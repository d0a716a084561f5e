import type { ProcessTree } from "./process-tree.ts";

// A leak of a gigabyte a second is caught within 256 MB of its limit.
const everyMs = 250;

/** Calls `over` once, with the reason, when a tree's resident memory is over its limit; does nothing without a limit. */
export const watchMemory = (
  tree: ProcessTree,
  limitBytes: number | undefined,
  over: (reason: string) => void,
): void => {
  if (limitBytes === undefined) return;
  const timer = setInterval(() => {
    const { memoryBytes } = tree.usage();
    if (memoryBytes <= limitBytes) return;
    clearInterval(timer);
    over(`out of memory: the replica used ${memoryBytes} bytes, its limit is ${limitBytes}`);
  }, everyMs);
};
