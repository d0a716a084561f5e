import { type CallRecord, isFinal } from "../../schemas/call.ts";
import { BuskerError } from "../../schemas/errors.ts";
import { formatFunctionName } from "../../schemas/names.ts";
import { queuedRecord } from "../bus/accept-calls.ts";
import { type WholeRecord, withoutBodies } from "../bus/call-record-wire.ts";
import type { CallRecords } from "../bus/call-records.ts";
import type { DurableCall } from "../bus/durable-call.ts";

/** The record of one call in the hands of who runs it. */
export interface CallFile {
  /** As it was last read or written. */
  readonly whole: () => WholeRecord;
  readonly record: () => CallRecord;
  /** The record under this id is another function's: two were called under one id at the same time. */
  readonly isOthers: () => boolean;
  /** Reads it again. */
  readonly refresh: () => Promise<void>;
  /**
   * Writes what `make` makes of the record, and again of what somebody else has made of it meanwhile. False when the call
   * is over or another function's, or `make` gives nothing: then `record()` is what there is instead. One after the other, in the order asked.
   */
  readonly change: (make: (record: CallRecord) => WholeRecord | undefined) => Promise<boolean>;
  /** Says of a record that is over, and does not say so yet, until when it is kept. */
  readonly keepUntil: (expiresMs: number) => Promise<void>;
}

const isConflict = (cause: unknown): boolean => cause instanceof BuskerError && cause.code === "conflict";

/** Reads a call's record; one that is not there yet, or any more, begins as queued. */
export const openCallFile = async (
  records: Pick<CallRecords, "read" | "write">,
  call: DurableCall,
): Promise<CallFile> => {
  let whole = withoutBodies(queuedRecord(call));
  let seq = 0;
  const read = async (): Promise<void> => {
    const found = await records.read(call.id);
    if (found) whole = found;
    seq = found?.seq ?? 0;
  };
  const isOthers = (): boolean => formatFunctionName(whole.record.function) !== formatFunctionName(call.function);
  const change = async (make: (record: CallRecord) => WholeRecord | undefined): Promise<boolean> => {
    for (;;) {
      const next = isFinal(whole.record.state) || isOthers() ? undefined : make(whole.record);
      if (!next) return false;
      try {
        seq = await records.write(next, seq);
        whole = next;
        return true;
      } catch (cause) {
        if (!isConflict(cause)) throw cause;
        await read();
      }
    }
  };
  const keepUntil = async (expiresMs: number): Promise<void> => {
    while (isFinal(whole.record.state) && whole.record.expiresMs === undefined && !isOthers())
      try {
        const next = { ...whole, record: { ...whole.record, expiresMs } };
        seq = await records.write(next, seq);
        whole = next;
      } catch (cause) {
        if (!isConflict(cause)) throw cause;
        await read();
      }
  };
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(act: () => Promise<T>): Promise<T> => {
    const turn = last.then(act);
    // Who asked hears of a failure; the next one tries anew.
    last = turn.catch(() => undefined);
    return turn;
  };
  await read();
  return {
    whole: () => whole,
    record: () => whole.record,
    isOthers,
    refresh: () => inTurn(read),
    change: (make) => inTurn(() => change(make)),
    keepUntil: (expiresMs) => inTurn(() => keepUntil(expiresMs)),
  };
};
