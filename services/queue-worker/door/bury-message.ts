import { defaultResultTtlMs } from "../../../schemas/annotations.ts";
import { BuskerError } from "../../../schemas/errors.ts";
import { defaultRequestHead } from "../../../schemas/invocation.ts";
import { queuedRecord } from "../../bus/accept-calls.ts";
import type { WholeRecord } from "../../bus/call-record-wire.ts";
import type { CallRecords } from "../../bus/call-records.ts";
import type { DurableCall } from "../../bus/durable-call.ts";
import { decodeRequest } from "../../bus/invocation-wire.ts";
import { finalRecord } from "../final-record.ts";
import { finishCall, type FinishParts } from "../finish-call.ts";
import { doorId, type DoorMessage, readDoorCall, readDoorFunction } from "./read-door-call.ts";

/** What burying messages needs. */
export interface BuryParts extends FinishParts {
  readonly records: Pick<CallRecords, "read" | "write">;
}

const readHead = (message: DoorMessage): Pick<DurableCall, "head" | "body"> => {
  try {
    const { head, body } = decodeRequest(message);
    return { head, body };
  } catch {
    return { head: defaultRequestHead, body: message.data };
  }
};

/** The call of a message that was not taken in, as far as it can be read. */
const refusedCall = (message: DoorMessage): DurableCall => {
  try {
    return readDoorCall(message).call;
  } catch {
    const name = readDoorFunction(message);
    const queuedMs = Math.floor(message.atNanos / 1e6);
    return { id: doorId(name, message), function: name, priority: "normal", queuedMs, ...readHead(message) };
  }
};

/** Writes the record where there is none under its id; gives whether it is there. */
const writeOnce = async ({ records }: BuryParts, whole: WholeRecord): Promise<boolean> => {
  try {
    await records.write(whole, 0);
    return true;
  } catch (cause) {
    if (!(cause instanceof BuskerError && cause.code === "conflict")) throw cause;
    const found = await records.read(whole.record.id);
    // Written before by a worker that was killed then.
    return found?.record.state === "dead" && found.record.queuedMs === whole.record.queuedMs;
  }
};

/** Nobody waits for an answer, so that what was sent is buried with the reason. */
export const buryMessage = async (
  parts: BuryParts,
  message: DoorMessage,
  { code, message: why }: BuskerError,
): Promise<void> => {
  const call = refusedCall(message);
  const whole = finalRecord(queuedRecord(call), {
    call,
    state: "dead",
    attempts: [],
    endedMs: Date.now(),
    ttlMs: defaultResultTtlMs,
    error: { code, message: `it was not accepted: ${why}` },
    maxBytes: parts.bus.nc.info?.max_payload ?? Number.POSITIVE_INFINITY,
  });
  // An id that is another call's: that one's record stays, and the letter says what became of this one.
  const id = (await writeOnce(parts, whole)) ? call.id : doorId(call.function, message);
  await finishCall(parts, { ...whole, record: { ...whole.record, id } });
};
