import { readFile } from "node:fs/promises";
import type { FunctionState, ReplicaView } from "./function-state.ts";

/** Below this percentage the kernel begins to throw out what processes are about to use. */
export const usualReservePercent = 10;

const amountOf = (meminfo: string, key: string): number =>
  Number(new RegExp(`^${key}:\\s+(\\d+) kB$`, "m").exec(meminfo)?.[1] ?? Number.NaN);

/**
 * Whether a machine has less memory available than is to be kept, in hundredths of all it has, by the text of its
 * `/proc/meminfo` (proc(5)); not where it does not say.
 */
export const isMemoryShort = (meminfo: string, reservePercent: number): boolean =>
  (amountOf(meminfo, "MemAvailable") / amountOf(meminfo, "MemTotal")) * 100 < reservePercent;

const isFrozen = ({ asleep, state, stopping, evicted }: ReplicaView): boolean =>
  asleep && state === "frozen" && !stopping && !evicted;

/** Takes the frozen replica that has slept longest of all out of its sleep; gives its function, undefined when none sleeps. */
export const evictLongestFrozen = (states: readonly FunctionState[]): FunctionState | undefined => {
  const frozen = states.flatMap((state) =>
    state.replicas.filter(isFrozen).map((replica) => ({ state, replica, sinceMs: replica.sinceMs })),
  );
  const [longest] = frozen.toSorted((a, b) => a.sinceMs - b.sinceMs);
  if (!longest) return undefined;
  longest.replica.evicted = true;
  return longest.state;
};

/** What looking for memory needs. */
export interface MemoryWatch {
  readonly all: () => readonly FunctionState[];
  readonly reconcile: (state: FunctionState) => void;
  /** How much of the machine's memory is to be kept available, in hundredths of all it has. */
  readonly reservePercent: number;
  /** Where the machine says how much memory it has. */
  readonly file?: string;
}

/**
 * Ends one frozen replica, the one that has slept longest, when the machine runs short of memory: what is asleep must not
 * push out what is awake. Gives the function whose it was. To be called again and again, as each gives its memory back.
 */
export const relieveMemory = async ({
  all,
  reconcile,
  reservePercent,
  file = "/proc/meminfo",
}: MemoryWatch): Promise<FunctionState | undefined> => {
  // A system without this file says nothing, and then nothing is done.
  const meminfo = await readFile(file, "utf8").catch(() => "");
  const state = isMemoryShort(meminfo, reservePercent) ? evictLongestFrozen(all()) : undefined;
  if (state) reconcile(state);
  return state;
};
