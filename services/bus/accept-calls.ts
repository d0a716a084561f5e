import type { MsgHdrs } from "nats";
import type { CallRecord } from "../../schemas/call.ts";
import { BuskerError } from "../../schemas/errors.ts";
import { callEventType } from "../../schemas/events.ts";
import { formatFunctionName, type FunctionName } from "../../schemas/names.ts";
import { callSubject, queueSubject } from "../../schemas/subjects.ts";
import { maxStreamHeaderBytes } from "../../schemas/topology.ts";
import type { AcknowledgedPublisher } from "./acknowledged.ts";
import { withoutBodies } from "./call-record-wire.ts";
import type { CallRecords } from "./call-records.ts";
import { inOwnName } from "./call-ids.ts";
import type { Bus } from "./connection.ts";
import { type DurableCall, encodeDurable } from "./durable-call.ts";
import { publishEvent } from "./events.ts";
import { headerBytes } from "./headers.ts";
import { reportFault } from "./report-fault.ts";

/** The record of a call that waits for its first attempt. */
export const queuedRecord = (call: DurableCall): CallRecord => ({
  id: call.id,
  function: call.function,
  state: "queued",
  priority: call.priority,
  queuedMs: call.queuedMs,
  ...(call.runAtMs === undefined ? {} : { runAtMs: call.runAtMs }),
  attempts: [],
  ...(call.callbackUrl === undefined ? {} : { callbackUrl: call.callbackUrl }),
  ...(call.parent === undefined ? {} : { parent: call.parent }),
  ...(call.replayOf === undefined ? {} : { replayOf: call.replayOf }),
  ...(call.traceparent === undefined ? {} : { traceparent: call.traceparent }),
  ...(call.tracestate === undefined ? {} : { tracestate: call.tracestate }),
});

/** Accepts durable calls, wherever they come from. */
export interface CallAcceptor {
  /**
   * Resolves when the stream has the call: from then on it is done once, or reported dead. Its record follows before that. Rejects
   * with `queue_full` or `bus_unavailable`, and with `invalid_request` where its headers are more than a stream takes; whoever
   * repeats gives the same id.
   */
  readonly accept: (call: DurableCall, options?: AcceptOptions) => Promise<Acceptance>;
}

/** What is known of a call that is to be accepted. */
export interface AcceptOptions {
  /** Its id was made for it, so that no other function's call can have it: that it is queued is told at once. */
  readonly isOwnId?: boolean;
}

/** What became of a call that is accepted. */
export interface Acceptance {
  /** The id that counts: another than it came with where a call of another function has taken that one at the same time. */
  readonly id: string;
  /** The stream had it already. */
  readonly isDuplicate: boolean;
  /** The number it has in its stream. */
  readonly seq: number;
}

const isConflict = (cause: unknown): boolean => cause instanceof BuskerError && cause.code === "conflict";

const assertHeadersFit = (headers: MsgHdrs): void => {
  const bytes = headerBytes(headers);
  if (bytes > maxStreamHeaderBytes)
    throw new BuskerError(
      "invalid_request",
      `the call's headers are ${bytes} bytes as they are kept; at most ${maxStreamHeaderBytes} may be`,
    );
};

/** What an acceptor works with. */
export interface AcceptorParts {
  readonly bus: Bus;
  readonly acknowledged: AcknowledgedPublisher;
  readonly records: CallRecords;
  /** Told of each call that is new to its stream. */
  readonly onAccepted?: (name: FunctionName) => void;
}

/** Creates the acceptor. */
export const createAcceptor = ({ bus, acknowledged, records, onAccepted }: AcceptorParts): CallAcceptor => {
  const isOthers = async (call: DurableCall): Promise<boolean> => {
    try {
      const found = await records.read(call.id);
      return found !== undefined && formatFunctionName(found.record.function) !== formatFunctionName(call.function);
    } catch (cause) {
      // The queue-worker looks as well, before it begins.
      reportFault(`could not read the record of call ${call.id}`, cause);
      return false;
    }
  };
  /** Gives whether the record under this id is another function's. */
  const note = async (call: DurableCall): Promise<boolean> => {
    try {
      await records.write(withoutBodies(queuedRecord(call)), 0);
    } catch (cause) {
      if (isConflict(cause)) return isOthers(call);
      // The queue-worker writes it then: the call is accepted either way.
      reportFault(`could not write the record of call ${call.id}`, cause);
    }
    return false;
  };
  const tell = (call: DurableCall): void => {
    const { namespace, name } = call.function;
    publishEvent(bus, {
      subject: callSubject("queued", namespace, name),
      type: callEventType("queued"),
      id: `${call.id}.queued`,
      data: {
        id: call.id,
        atMs: call.queuedMs,
        attempts: 0,
        priority: call.priority,
        ...(call.runAtMs === undefined ? {} : { nextMs: call.runAtMs }),
        ...(call.parent === undefined ? {} : { parent: call.parent }),
        ...(call.replayOf === undefined ? {} : { replayOf: call.replayOf }),
      },
    });
  };
  const accept: CallAcceptor["accept"] = async (call, { isOwnId = false } = {}) => {
    const { namespace, name } = call.function;
    const subject = queueSubject(namespace, name, call.priority);
    const headers = encodeDurable(bus.source, call);
    assertHeadersFit(headers);
    const ack = await acknowledged.publish(subject, call.body, headers);
    if (ack.isDuplicate) return { ...ack, id: call.id };
    const noted = note(call);
    // Whoever hears of it begins the call a round trip earlier; the record is on its way to the server before that.
    if (isOwnId) tell(call);
    if (await noted) return accept(inOwnName(call), { isOwnId: true });
    if (!isOwnId) tell(call);
    onAccepted?.(call.function);
    return { ...ack, id: call.id };
  };
  return { accept };
};
