import type { CallStorage } from "../bus/call-storage.ts";
import { readElsewhere, readExpiry } from "../bus/call-elsewhere.ts";

/** What messages need outside themselves. */
export interface NeededNames {
  /** Whether a record that stays or a dead letter names it. */
  readonly isNamed: (name: string) => boolean;
  /** Whether a record that has expired names it. */
  readonly isReleased: (name: string) => boolean;
  /** Whether a call that is not over, or an outcome that is still to be told, names it: looked up when it is asked first. */
  readonly isAwaited: (name: string) => Promise<boolean>;
}

/** What the sweep finds of the records. */
export interface RecordSurvey extends NeededNames {
  /** The places of records that have expired. */
  readonly expired: readonly number[];
}

/** Nobody reads a record from its expiry on; who had read it before has named what it needs by then, in milliseconds. */
const graceMs = 60_000;

/** Reads what records, dead letters, and, if anybody asks, queued calls and outcomes say of themselves. */
export const surveyRecords = async (
  storage: Pick<CallStorage, "scan">,
  nowMs: number,
  signal: AbortSignal,
): Promise<RecordSurvey> => {
  const named = new Set<string>();
  const released = new Set<string>();
  const expired: number[] = [];
  const isOver = (headers: string): boolean => (readExpiry(headers) ?? Number.POSITIVE_INFINITY) + graceMs <= nowMs;
  const collectInto = (names: Set<string>, headers: string): void => {
    for (const name of readElsewhere(headers)) names.add(name);
  };
  const readKept = async (names: Set<string>): Promise<void> => {
    await storage.scan("RESULTS", signal, (headers) => isOver(headers) || collectInto(names, headers));
    await storage.scan("DEAD", signal, (headers) => collectInto(names, headers));
  };
  await storage.scan("RESULTS", signal, (headers, seq) => {
    if (isOver(headers)) expired.push(seq);
    collectInto(isOver(headers) ? released : named, headers);
  });
  await storage.scan("DEAD", signal, (headers) => collectInto(named, headers));
  let awaiting: Promise<ReadonlySet<string>> | undefined;
  const readQueues = async (): Promise<ReadonlySet<string>> => {
    const names = new Set<string>();
    // One message after the other, as they are work queues: so only where something may have to go.
    for (const queue of ["INVOCATIONS", "OUTCOMES"] as const)
      await storage.scan(queue, signal, (headers) => collectInto(names, headers));
    // What left them since the records were read is in the records now.
    await readKept(names);
    return names;
  };
  return {
    expired,
    isNamed: (name) => named.has(name),
    isReleased: (name) => released.has(name),
    isAwaited: async (name) => (await (awaiting ??= readQueues())).has(name),
  };
};
