import { setTimeout as pause } from "node:timers/promises";
import { type CallRecord, isFinal } from "../../schemas/call.ts";
import { parseCallToken, parsePartsSubject } from "../../schemas/subjects.ts";
import type { CallRecords } from "../bus/call-records.ts";
import { type CallStorage, openCallStorage } from "../bus/call-storage.ts";
import type { Bus } from "../bus/connection.ts";
import { holdLease } from "../bus/lease.ts";
import { reportFault } from "../bus/report-fault.ts";
import { type NeededNames, surveyRecords } from "./sweep-names.ts";

/** What one sweep has taken away. */
export interface Swept {
  readonly records: number;
  /** Responses in parts. */
  readonly responses: number;
  /** Bodies in the store. */
  readonly payloads: number;
  /** What broken uploads and removals had left in the store. */
  readonly strays: number;
}

/** What a sweep takes. */
export interface SweepParts {
  readonly storage: CallStorage;
  readonly records: Pick<CallRecords, "read">;
  readonly nowMs?: () => number;
}

/**
 * What nobody names yet may be named soon: an upload under way, a call that is just being accepted. In milliseconds; far longer than
 * either takes.
 */
const youngMs = 3600_000;

/** Whether this attempt's response may be being written now: later attempts are not on record yet, earlier ones are over. */
const isBeingWritten = ({ state, attempts }: CallRecord, attempt: number): boolean => {
  const last = attempts.at(-1);
  if (isFinal(state) || !last) return !isFinal(state);
  return attempt > last.number || (attempt === last.number && last.endedMs === undefined && state !== "retrying");
};

const sweepParts = async ({ storage, records, nowMs = Date.now }: SweepParts, names: NeededNames): Promise<number> => {
  const mayGo = async (subject: string): Promise<boolean> => {
    const of = parsePartsSubject(subject);
    if (!of || names.isNamed(subject)) return false;
    const found = await records.read(parseCallToken(of.token));
    if (found && isBeingWritten(found.record, of.attempt)) return false;
    // It may have ended since the names were read.
    if (found && isFinal(found.record.state) && found.record.response?.body.name === String(of.attempt)) return false;
    // Of one that runs, the record may have been dropped: its stream has a limit.
    const isKnown = found !== undefined || names.isReleased(subject);
    const writtenMs = isKnown ? 0 : ((await storage.newestPartMs(subject)) ?? 0);
    return nowMs() - writtenMs >= youngMs && !(await names.isAwaited(subject));
  };
  let count = 0;
  for (const subject of await storage.partSubjects())
    if (await mayGo(subject)) {
      await storage.purgeParts(subject);
      count += 1;
    }
  return count;
};

/** The call that an object's name begins with. */
const callOf = (name: string): string => parseCallToken(name.slice(0, Math.max(0, name.lastIndexOf("."))));

const sweepPayloads = async (
  { storage: { payloads }, records, nowMs = Date.now }: SweepParts,
  names: NeededNames,
): Promise<Pick<Swept, "payloads" | "strays">> => {
  const { objects, strays } = await payloads.survey();
  const mayGo = async (name: string, putMs: number): Promise<boolean> => {
    if (names.isNamed(name) || (nowMs() - putMs < youngMs && !names.isReleased(name))) return false;
    const found = await records.read(callOf(name));
    return !(found && !isFinal(found.record.state)) && !(await names.isAwaited(name));
  };
  const swept = { payloads: 0, strays: 0 };
  for (const { name, putMs, subjects } of objects)
    if (await mayGo(name, putMs)) {
      for (const subject of subjects) await payloads.purge(subject);
      swept.payloads += 1;
    }
  for (const subject of strays)
    if (nowMs() - ((await payloads.newestMs(subject)) ?? 0) >= youngMs) {
      await payloads.purge(subject);
      swept.strays += 1;
    }
  return swept;
};

/**
 * Takes away what calls have left behind and nobody needs any more: records whose time is over, parts of responses that no
 * record names or that a killed queue-worker left, bodies that neither a call that is not over nor a record, a dead letter
 * or an outcome names. May be broken off anywhere, and run by several at once.
 */
export const sweep = async (parts: SweepParts, signal: AbortSignal): Promise<Swept> => {
  const { storage, nowMs = Date.now } = parts;
  const survey = await surveyRecords(storage, nowMs(), signal);
  await storage.removeRecords(survey.expired, signal);
  signal.throwIfAborted();
  const responses = await sweepParts(parts, survey);
  signal.throwIfAborted();
  return { records: survey.expired.length, responses, ...(await sweepPayloads(parts, survey)) };
};

/** When to sweep. */
export interface SweepOptions {
  /** After the role was taken, in milliseconds. */
  readonly firstMs?: number;
  /** After each sweep. */
  readonly everyMs?: number;
  readonly onSwept?: (swept: Swept) => void;
}

/** Sweeps now and then for as long as this process has the role to; any number of them may seek it. Gives what stops it. */
export const startSweep = async (
  bus: Bus,
  records: Pick<CallRecords, "read">,
  { firstMs = 10_000, everyMs = 5 * 60_000, onSwept = () => {} }: SweepOptions = {},
): Promise<{ readonly stop: () => Promise<void> }> => {
  const storage = await openCallStorage(bus);
  const work = async (signal: AbortSignal): Promise<void> => {
    for (let waitMs = firstMs; ; waitMs = everyMs) {
      await pause(waitMs, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      try {
        onSwept(await sweep({ storage, records }, signal));
      } catch (cause) {
        if (!signal.aborted) reportFault("could not clear up after calls; the next sweep does it", cause);
      }
    }
  };
  return holdLease(bus, { role: "sweep", work });
};
