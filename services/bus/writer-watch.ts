import { type CallRecord, isFinal } from "../../schemas/call.ts";
import type { CallRecords } from "./call-records.ts";

/** One try of one call. */
export interface AttemptOf {
  readonly id: string;
  readonly attempt: number;
}

/** Watches over attempts whose responses are being read: a queue-worker that was killed leaves no end behind. */
export interface WriterWatch {
  /** `onOver` is called once, when nobody writes this attempt's response any more. Gives a function that takes it away. */
  readonly add: (of: AttemptOf, onOver: () => void) => () => void;
}

/** How often the records of calls that are being read are looked at, in milliseconds: one reading a call, however many read it. */
const lookMs = 1000;

/** Whether the call has gone beyond this attempt. What was written before its record says so is in the stream already. */
export const isAttemptOver = (record: CallRecord | undefined, attempt: number): boolean =>
  record === undefined ||
  isFinal(record.state) ||
  record.state === "retrying" ||
  record.attempts.at(-1)?.number !== attempt;

/** Creates the watch; it asks nothing while there is nobody to watch. */
export const createWriterWatch = (records: Pick<CallRecords, "read">): WriterWatch => {
  const readers = new Map<string, Set<{ readonly attempt: number; readonly onOver: () => void }>>();
  let timer: NodeJS.Timeout | undefined;
  const look = async (id: string): Promise<void> => {
    const record = await records.read(id);
    for (const reader of readers.get(id) ?? []) if (isAttemptOver(record?.record, reader.attempt)) reader.onOver();
  };
  // What cannot be read now can be in a second.
  const lookAtAll = (): void => {
    for (const id of readers.keys()) look(id).catch(() => undefined);
  };
  return {
    add: ({ id, attempt }, onOver) => {
      const reader = { attempt, onOver };
      const of = readers.get(id) ?? new Set();
      readers.set(id, of.add(reader));
      timer ??= setInterval(lookAtAll, lookMs).unref();
      return () => {
        if (of.delete(reader) && of.size === 0) readers.delete(id);
        if (readers.size > 0) return;
        clearInterval(timer);
        timer = undefined;
      };
    },
  };
};
