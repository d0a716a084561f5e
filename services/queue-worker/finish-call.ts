import type { CallRecord } from "../../schemas/call.ts";
import { isFinal } from "../../schemas/call.ts";
import { type CallChange, callEventType } from "../../schemas/events.ts";
import { callSubject, callToken, deadSubject } from "../../schemas/subjects.ts";
import type { AcknowledgedPublisher } from "../bus/acknowledged.ts";
import { encodeRecord, type WholeRecord } from "../bus/call-record-wire.ts";
import type { Bus } from "../bus/connection.ts";
import { encodeEvent } from "../bus/events.ts";

/** What ending calls needs. */
export interface FinishParts {
  readonly bus: Bus;
  readonly acknowledged: AcknowledgedPublisher;
  /** Tells whoever is to be told of the outcome: one message each, with an id of its own. */
  readonly publishOutcomes: (whole: WholeRecord) => Promise<void>;
}

const changeOf = (record: CallRecord): CallChange => {
  const last = record.attempts.at(-1);
  return {
    id: record.id,
    atMs: record.endedMs ?? record.queuedMs,
    attempts: last?.number ?? 0,
    ...(last?.status === undefined ? {} : { status: last.status }),
    ...(record.error === undefined ? {} : { error: record.error }),
    ...(last?.endedMs === undefined ? {} : { durationMs: last.endedMs - last.startedMs }),
  };
};

const publishEnd = async ({ bus, acknowledged }: FinishParts, record: CallRecord): Promise<void> => {
  const { id, state } = record;
  if (!isFinal(state)) throw new TypeError(`a call that is ${state} is not over`);
  const { namespace, name } = record.function;
  const subject = callSubject(state, namespace, name);
  const event = { subject, type: callEventType(state), id: `${id}.${state}`, data: changeOf(record) };
  const { headers, payload } = encodeEvent(bus.source, event);
  await acknowledged.publish(subject, payload, headers);
};

const bury = async ({ bus, acknowledged }: FinishParts, whole: WholeRecord): Promise<void> => {
  const { id } = whole.record;
  const { namespace, name } = whole.record.function;
  const more = `Nats-Msg-Id: ${callToken(id)}.dead\r\n`;
  const { headers, payload } = encodeRecord(bus.source, whole, more);
  await acknowledged.publish(deadSubject(namespace, name, id), payload, headers);
};

/**
 * What follows the final record of a call, before its message may leave the queue: the event, the dead letter, the
 * outcomes. Everything is made of the record alone and has a message id, so that it may be repeated by anybody. Rejects
 * when something was not taken; then the call stays in the queue, and comes again.
 */
export const finishCall = async (parts: FinishParts, whole: WholeRecord): Promise<void> => {
  const { state } = whole.record;
  await Promise.all([
    publishEnd(parts, whole.record),
    ...(state === "dead" ? [bury(parts, whole)] : []),
    ...(state === "cancelled" ? [] : [parts.publishOutcomes(whole)]),
  ]);
};
