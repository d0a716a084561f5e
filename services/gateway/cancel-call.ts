import { randomUUID } from "node:crypto";
import { type Attempt, type CallError, type CallRecord, isFinal } from "../../schemas/call.ts";
import { BuskerError } from "../../schemas/errors.ts";
import { callEventType } from "../../schemas/events.ts";
import { callSubject, cancelSubject } from "../../schemas/subjects.ts";
import { withoutBodies } from "../bus/call-record-wire.ts";
import type { CallRecords, FoundRecord } from "../bus/call-records.ts";
import type { Bus } from "../bus/connection.ts";
import { publishEvent } from "../bus/events.ts";

/**
 * Cancels a durable call by its id: from when it resolves, the call is `cancelled` for good, and what runs of it is told to
 * stop. To cancel again is without effect. Rejects with `call_not_found`, and with `call_over` when it has ended.
 */
export type CancelCall = (id: string) => Promise<void>;

const why: CallError = { code: "cancelled", message: "somebody has cancelled it" };

const endAttempt = (attempt: Attempt, endedMs: number): Attempt =>
  attempt.endedMs === undefined && attempt.status === undefined && attempt.error === undefined
    ? { ...attempt, endedMs, error: why }
    : attempt;

/**
 * The record of a call that is cancelled now. It does not expire yet: the call may be in the queue for long, and is run where
 * there is no record of it. The queue-worker that takes it out says how long it is kept.
 */
const cancelledRecord = (record: CallRecord, nowMs: number): CallRecord => {
  const { nextMs: _, ...rest } = record;
  return {
    ...rest,
    state: "cancelled",
    endedMs: nowMs,
    attempts: record.attempts.map((attempt, at) =>
      at === record.attempts.length - 1 ? endAttempt(attempt, nowMs) : attempt,
    ),
    error: why,
  };
};

const isConflict = (error: unknown): boolean => error instanceof BuskerError && error.code === "conflict";

/** Creates the one way to cancel calls. */
export const createCancelCall = (bus: Bus, records: CallRecords): CancelCall => {
  const tell = (record: CallRecord): void => {
    const { namespace, name } = record.function;
    // A queue-worker tells it again when it meets the call, if this does not arrive.
    publishEvent(bus, {
      subject: callSubject("cancelled", namespace, name),
      type: callEventType("cancelled"),
      id: `${record.id}.cancelled`,
      data: { id: record.id, atMs: record.endedMs ?? Date.now(), attempts: record.attempts.length, error: why },
    });
    publishEvent(bus, {
      subject: cancelSubject(namespace, name),
      type: "io.busker.cancel",
      id: randomUUID(),
      data: { id: record.id },
    });
  };
  /** Gives false when the call has moved on meanwhile. */
  const write = async ({ record, seq }: FoundRecord): Promise<boolean> => {
    const cancelled = cancelledRecord(record, Date.now());
    try {
      await records.write(withoutBodies(cancelled), seq);
    } catch (error) {
      if (isConflict(error)) return false;
      throw error;
    }
    tell(cancelled);
    return true;
  };
  return async (id) => {
    for (;;) {
      const found = await records.read(id);
      if (!found) throw new BuskerError("call_not_found", `there is no call ${id}, or its record has expired`);
      const { state } = found.record;
      if (state === "cancelled") return tell(found.record);
      if (isFinal(state)) throw new BuskerError("call_over", `call ${id} has ended already: it is ${state}`);
      if (await write(found)) return;
    }
  };
};
