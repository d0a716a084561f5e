import { readdirSync, readFileSync } from "node:fs";

/** The process group of a process; 0 when it is gone or a zombie. */
const groupOf = (pid: string): number => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // Fields are counted behind the command, which may hold spaces and brackets: state, parent, group.
    const [state, , group] = stat.slice(stat.lastIndexOf(")") + 2).split(" ", 3);
    return state === "Z" ? 0 : Number(group);
  } catch {
    return 0;
  }
};

const isPid = (name: string): boolean => name.charCodeAt(0) <= 57 && name.charCodeAt(0) >= 48;

/**
 * Gives a function that tells which of the groups have a member besides their leader. What it has learnt about a process
 * it keeps for the next time, as most processes of a machine stay.
 */
export const createGroupScan = (): ((groups: ReadonlySet<number>) => ReadonlySet<number>) => {
  let known = new Map<string, number>();
  return (groups) => {
    const seen = new Map<string, number>();
    const occupied = new Set<number>();
    for (const name of readdirSync("/proc")) {
      if (!isPid(name)) continue;
      const group = known.get(name) ?? groupOf(name);
      seen.set(name, group);
      if (groups.has(group) && group !== Number(name)) occupied.add(group);
    }
    known = seen;
    return occupied;
  };
};
