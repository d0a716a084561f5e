import { createHash } from "node:crypto";
import type { OutcomeTarget } from "../../schemas/call.ts";
import { BuskerError } from "../../schemas/errors.ts";
import { wireHeaders } from "../../schemas/invocation.ts";
import { callToken, deadSubject, outcomeAnyFilter, outcomeSubject } from "../../schemas/subjects.ts";
import { streams } from "../../schemas/topology.ts";
import type { AcknowledgedPublisher } from "./acknowledged.ts";
import { decodeRecord, encodeRecord, type WholeRecord } from "./call-record-wire.ts";
import type { Bus, BusMessage } from "./connection.ts";
import { consumeDurably, type Disposition } from "./consume.ts";
import { headerText, headerValue } from "./headers.ts";
import { reportFault } from "./report-fault.ts";

/** The outcome of a call, and whom to tell it. */
export interface Outcome {
  /** With the response; the request's body is left out. */
  readonly whole: WholeRecord;
  readonly target: OutcomeTarget;
  /** Tries that failed. */
  readonly tries: number;
  /** Not before then, milliseconds since the epoch; 0: at once. */
  readonly dueMs: number;
}

/** Names one thing to tell: always the same for a call and a target, whoever computes it. 32 hexadecimal digits. */
export const outcomeKey = (callId: string, target: OutcomeTarget): string =>
  createHash("sha256")
    .update(JSON.stringify([callId, target]))
    .digest("hex")
    .slice(0, 32);

const withoutRequestBody = ({ record, response }: WholeRecord): WholeRecord => ({
  record: record.request
    ? { ...record, request: { ...record.request, body: { bytes: record.request.body.bytes, place: "none" } } }
    : record,
  request: new Uint8Array(),
  response,
});

/**
 * Puts an outcome into its stream and waits until it is there; a repeat under the same `messageId` is swallowed for ten minutes.
 * Rejects with `queue_full` or `bus_unavailable`.
 */
export const putOutcome = async (
  acknowledged: AcknowledgedPublisher,
  source: string,
  outcome: Outcome,
  messageId: string,
): Promise<void> => {
  const { namespace, name } = outcome.whole.record.function;
  const { headers, payload } = encodeRecord(
    source,
    withoutRequestBody(outcome.whole),
    `${wireHeaders.target}: ${JSON.stringify(outcome.target)}\r\n` +
      (outcome.tries > 0 ? `${wireHeaders.tries}: ${outcome.tries} ${Math.ceil(outcome.dueMs)}\r\n` : "") +
      `Nats-Msg-Id: ${messageId}\r\n`,
  );
  await acknowledged.publish(outcomeSubject(namespace, name), payload, headers);
};

const decodeOutcome = (message: BusMessage): Outcome => {
  const headers = headerText(message);
  const target = headerValue(headers, wireHeaders.target);
  if (target === undefined) throw new BuskerError("internal", `an outcome on ${message.subject} has no target`);
  const [tries = 0, dueMs = 0] = (headerValue(headers, wireHeaders.tries) ?? "").split(" ").map(Number);
  return { whole: decodeRecord(message), target: JSON.parse(target) as OutcomeTarget, tries, dueMs };
};

/** An outcome as it was taken from its stream. */
export interface TakenOutcome extends Outcome {
  /** Its number there. */
  readonly seq: number;
  /** How often it was taken, this time included. */
  readonly deliveries: number;
}

/** How outcomes are taken. */
export interface OutcomeConsumerOptions {
  /** At a time in this process. */
  readonly concurrency: number;
  readonly leaseMs: number;
}

/**
 * Takes outcomes from their stream, any number of processes together, each at least once. What cannot be read is reported and
 * dropped: only services publish there. Gives a function that stops taking and waits for what is being told.
 */
export const consumeOutcomes = (
  bus: Bus,
  options: OutcomeConsumerOptions,
  handle: (outcome: TakenOutcome) => Promise<Disposition>,
): Promise<() => Promise<void>> =>
  consumeDurably(
    bus,
    {
      stream: streams.OUTCOMES,
      durable: "outcomes",
      filters: [outcomeAnyFilter],
      concurrency: options.concurrency,
      leastPull: Math.ceil(options.concurrency / 8),
      leaseMs: options.leaseMs,
      // Those that wait for their next try count: one receiver that is down must not use up a bound for all.
      maxUnsettled: -1,
    },
    async (message) => {
      let outcome: Outcome;
      try {
        outcome = decodeOutcome(message as unknown as BusMessage);
      } catch (cause) {
        reportFault(`message ${message.seq} of stream OUTCOMES cannot be read and is dropped`, cause);
        return { kind: "dead", reason: "unreadable" };
      }
      return handle({ ...outcome, seq: message.seq, deliveries: message.info.deliveryCount });
    },
  );

// The longest call id that leaves room for what is put behind it.
const longestIdStem = 128 - ".12345678.callback".length;

/** The id of the dead letter of an outcome that could not be told; it ends in `.callback`. */
export const untoldId = (callId: string, target: OutcomeTarget, callbackUrl: string | undefined): string => {
  const key = outcomeKey(callId, target);
  const stem = callId.length <= longestIdStem ? callId : key;
  const isCallback = target.kind === "url" && target.url === callbackUrl;
  return isCallback ? `${stem}.callback` : `${stem}.${key.slice(0, 8)}.callback`;
};

/**
 * Keeps an outcome that could not be told as a dead letter of the call's function, whole, with why. Rejects with `queue_full` or
 * `bus_unavailable`.
 */
export const buryOutcome = async (
  acknowledged: AcknowledgedPublisher,
  source: string,
  { whole, target }: Outcome,
  error: BuskerError,
): Promise<string> => {
  const { record } = whole;
  const id = untoldId(record.id, target, record.callbackUrl);
  const { namespace, name } = record.function;
  const letter: WholeRecord = {
    ...whole,
    record: {
      ...record,
      id,
      state: "dead",
      parent: record.id,
      error: { code: error.code, message: error.message },
      untold: {
        target,
        call: {
          id: record.id,
          state: record.state,
          ...(record.error === undefined ? {} : { error: record.error }),
          ...(record.parent === undefined ? {} : { parent: record.parent }),
        },
      },
    },
  };
  const { headers, payload } = encodeRecord(source, letter, `Nats-Msg-Id: ${callToken(id)}.${Date.now()}\r\n`);
  await acknowledged.publish(deadSubject(namespace, name, id), payload, headers);
  return id;
};

/** The outcome that a dead letter is about; undefined when it is about a call itself. */
const outcomeOfLetter = ({ record, request, response }: WholeRecord): Outcome | undefined => {
  if (!record.untold) return undefined;
  const { untold, error: _why, parent: _call, ...rest } = record;
  const { target, call } = untold;
  return { whole: { record: { ...rest, ...call }, request, response }, target, tries: 0, dueMs: 0 };
};

/**
 * Has an outcome told anew that is in a dead letter, with all its tries; false when the letter is about a call itself. Receivers
 * see the same `webhook-id` as before. Rejects with `queue_full` or `bus_unavailable`.
 */
export const tellAgain = async (
  acknowledged: AcknowledgedPublisher,
  source: string,
  letter: WholeRecord,
): Promise<boolean> => {
  const outcome = outcomeOfLetter(letter);
  if (!outcome) return false;
  await putOutcome(acknowledged, source, outcome, `${callToken(letter.record.id)}.again.${Date.now()}`);
  return true;
};
