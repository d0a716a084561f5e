import { type FunctionName, formatFunctionName } from "../../../schemas/names.ts";
import type { StoredSample } from "../../bus/read-samples.ts";
import type { StreamPosition } from "../../bus/read-stream.ts";
import type { Directory } from "../directory.ts";
import { emptyTotals, type FunctionTotals } from "./function-totals.ts";
import { Ledger, type StoredLedger } from "./ledger.ts";
import { LiveSources, type LiveState } from "./live-sources.ts";

/** Everything that was counted, of every function that there is. */
export interface Totals {
  /** Since it was deployed. */
  readonly of: (name: FunctionName) => FunctionTotals;
  readonly live: (name: FunctionName) => LiveState;
  /** Samples that were not counted, since this gateway started: taken before, or none at all. */
  readonly dropped: () => { readonly repeated: number; readonly invalid: number };
}

/** The books behind totals. */
export interface Books extends Totals {
  readonly take: (sample: StoredSample) => void;
  readonly refuse: () => void;
  /** Up to where everything has been taken. */
  readonly position: () => StreamPosition;
  readonly ledgers: () => ReadonlyMap<string, Ledger>;
  /** Puts right what the stream alone does not tell; to be called now and then. */
  readonly settle: () => void;
}

/** What a snapshot holds. */
export interface StoredBooks {
  readonly position: StreamPosition;
  readonly ledgers: ReadonlyMap<string, StoredLedger>;
}

// A mark is in the stream before its function is in the directory. One that has not come by then never will.
const markMs = 30_000;
// What is told of a function after its end is told by then.
const afterEndMs = 10 * 60_000;

const nothing = emptyTotals();

/** Opens the books where a snapshot left them. */
export const openBooks = (directory: Pick<Directory, "find" | "all" | "status">, stored: StoredBooks): Books => {
  const ledgers = new Map([...stored.ledgers].map(([key, each]) => [key, new Ledger(each)]));
  const live = new LiveSources();
  const unmarked = new Map<string, number>();
  const dropped = { repeated: 0, invalid: 0 };
  let position = stored.position;

  const ledgerOf = (key: string): Ledger => {
    const known = ledgers.get(key) ?? new Ledger();
    ledgers.set(key, known);
    return known;
  };
  const adopt = (key: string, createdAt: string): void => {
    const ledger = ledgerOf(key);
    // Deployed by a version that set no marks.
    ledger.createdAt ??= createdAt;
    if (ledger.createdAt === createdAt) return void unmarked.delete(key);
    const sinceMs = unmarked.get(key) ?? performance.now();
    unmarked.set(key, sinceMs);
    if (performance.now() - sinceMs > markMs) ledger.restart(createdAt);
  };
  const forgetEnded = (): void => {
    for (const [key, ledger] of ledgers)
      if (!directory.find(key) && live.nowMs() - ledger.heardMs > afterEndMs) {
        ledgers.delete(key);
        unmarked.delete(key);
        live.forget(key);
      }
  };
  return {
    take: (sample) => {
      ({ position } = sample);
      const key = formatFunctionName(sample.function);
      if (ledgerOf(key).take(sample)) live.take(key, sample);
      else dropped.repeated += 1;
    },
    refuse: () => {
      dropped.invalid += 1;
    },
    of: (name) => {
      const key = formatFunctionName(name);
      const ledger = ledgers.get(key);
      const createdAt = directory.find(key)?.record.createdAt;
      // Another one's: the mark and the directory come by different ways.
      const isOther = ledger?.createdAt !== undefined && ledger.createdAt !== createdAt;
      return ledger === undefined || createdAt === undefined || isOther ? nothing : ledger.totals;
    },
    live: (name) => {
      const replicas = directory.status(name)?.replicas ?? [];
      const there = new Set(replicas.filter(({ state }) => state !== "exited").map(({ id }) => id));
      return live.of(formatFunctionName(name), (replica) => there.has(replica));
    },
    dropped: () => dropped,
    position: () => position,
    ledgers: () => ledgers,
    settle: () => {
      for (const { function: name, record } of directory.all()) adopt(formatFunctionName(name), record.createdAt);
      forgetEnded();
    },
  };
};
