import { readFileSync } from "node:fs";

/** What a tree of processes uses: CPU since each began in seconds, resident memory in bytes. */
export interface Usage {
  readonly cpuSeconds: number;
  readonly memoryBytes: number;
  /** The part of `memoryBytes` that the root itself has. */
  readonly rootMemoryBytes: number;
}

/** A process and everything below it. */
export interface ProcessTree {
  readonly usage: () => Usage;
}

// Linux' USER_HZ and page size on every architecture Node runs on with default kernels: proc(5), sysconf(3).
const ticksPerSecond = 100;
const pageBytes = 4096;

const readText = (path: string): string => {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // The process ended between being listed and being read: it uses nothing.
    return "";
  }
};

const children = (pid: number): number[] =>
  readText(`/proc/${pid}/task/${pid}/children`).split(" ").filter(Boolean).map(Number);

const usageOf = (pid: number): Pick<Usage, "cpuSeconds" | "memoryBytes"> => {
  // Fields are counted after the command, which may hold spaces and brackets.
  const stat = readText(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const ticks = Number(fields[11] ?? 0) + Number(fields[12] ?? 0);
  return { cpuSeconds: ticks / ticksPerSecond, memoryBytes: Number(fields[21] ?? 0) * pageBytes };
};

/** The tree below a process, read from `/proc` at each question. */
export const processTree = (root: number): ProcessTree => ({
  usage: () => {
    const pids = [root];
    let cpuSeconds = 0;
    let memoryBytes = 0;
    let rootMemoryBytes = 0;
    for (let pid = pids.pop(); pid !== undefined; pid = pids.pop()) {
      const usage = usageOf(pid);
      cpuSeconds += usage.cpuSeconds;
      memoryBytes += usage.memoryBytes;
      if (pid === root) rootMemoryBytes = usage.memoryBytes;
      pids.push(...children(pid));
    }
    return { cpuSeconds, memoryBytes, rootMemoryBytes };
  },
});
