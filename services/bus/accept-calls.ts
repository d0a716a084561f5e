import type { CallRecord } from "../../schemas/call.ts";
import { callEventType } from "../../schemas/events.ts";
import { callSubject, queueSubject } from "../../schemas/subjects.ts";
import type { AcknowledgedPublisher } from "./acknowledged.ts";
import { withoutBodies } from "./call-record-wire.ts";
import type { CallRecords } from "./call-records.ts";
import type { Bus } from "./connection.ts";
import { type DurableCall, encodeDurable } from "./durable-call.ts";
import { publishEvent } from "./events.ts";
import { reportFault } from "./report-fault.ts";
import { BuskerError } from "../../schemas/errors.ts";

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
});

/** Accepts durable calls, wherever they come from. */
export interface CallAcceptor {
  /**
   * Resolves when the stream has the call: from then on it is done once, or reported dead. Its record follows before that. Rejects
   * with `queue_full` or `bus_unavailable`; whoever repeats gives the same id. Gives whether it had the call already, and
   * the number it has in its stream.
   */
  readonly accept: (call: DurableCall) => Promise<{ readonly isDuplicate: boolean; readonly seq: number }>;
}

/** Creates the acceptor. */
export const createAcceptor = (bus: Bus, acknowledged: AcknowledgedPublisher, records: CallRecords): CallAcceptor => {
  const note = async (call: DurableCall): Promise<void> => {
    const { namespace, name } = call.function;
    try {
      await records.write(withoutBodies(queuedRecord(call)), 0);
    } catch (cause) {
      // It is there: a queue-worker was faster. Else the queue-worker writes it: the call is accepted either way.
      if (!(cause instanceof BuskerError && cause.code === "conflict"))
        reportFault(`could not write the record of call ${call.id}`, cause);
    }
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
      },
    });
  };
  return {
    accept: async (call) => {
      const { namespace, name } = call.function;
      const subject = queueSubject(namespace, name, call.priority);
      const ack = await acknowledged.publish(subject, call.body, encodeDurable(bus.source, call));
      if (!ack.isDuplicate) await note(call);
      return ack;
    },
  };
};
