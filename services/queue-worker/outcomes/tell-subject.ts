import { findHeader } from "../../../schemas/call-options.ts";
import { BuskerError } from "../../../schemas/errors.ts";
import { callEventType } from "../../../schemas/events.ts";
import { formatFunctionName } from "../../../schemas/names.ts";
import { isForeignSubject } from "../../../schemas/outcome-target.ts";
import type { WireEvent } from "../../bus/cloud-events.ts";
import type { PublishForeign } from "../../bus/foreign-events.ts";
import { type Outcome, outcomeKey } from "../../bus/outcomes.ts";
import { maxBodyBytes } from "../../../schemas/topology.ts";
import { type BodyReader, toldResponse } from "./response-body.ts";
import type { TellResult } from "./tell-result.ts";

/** What telling subjects needs. */
export interface SubjectTeller {
  readonly publish: PublishForeign;
  readonly reader: BodyReader;
  /** CloudEvents source of the events. */
  readonly source: string;
}

const eventOf = async ({ reader, source }: SubjectTeller, outcome: Outcome): Promise<WireEvent> => {
  const { record } = outcome.whole;
  const { head, body } = toldResponse(outcome.whole, reader);
  if (body.bytes > maxBodyBytes)
    throw new BuskerError(
      "body_too_large",
      `the response of call ${record.id} has ${body.bytes} bytes; an event may have ${maxBodyBytes}`,
    );
  const chunks: Uint8Array[] = [];
  for await (const chunk of body.open()) chunks.push(chunk);
  const contentType = findHeader(head.headers, "Content-Type");
  return {
    attributes: {
      specversion: "1.0",
      type: callEventType(record.state === "succeeded" ? "succeeded" : "dead"),
      source,
      id: outcomeKey(record.id, outcome.target),
      subject: record.id,
      time: new Date(record.endedMs ?? Date.now()).toISOString(),
      function: formatFunctionName(record.function),
      status: String(head.status),
      ...(record.parent === undefined ? {} : { parent: record.parent }),
      ...(record.error === undefined ? {} : { error: record.error.code }),
      ...(record.traceparent === undefined ? {} : { traceparent: record.traceparent }),
      ...(record.tracestate === undefined ? {} : { tracestate: record.tracestate }),
      ...(contentType === undefined ? {} : { datacontenttype: contentType }),
    },
    data: Buffer.concat(chunks),
  };
};

/** Publishes the outcome of a call as a CloudEvent on a subject that is none of the platform's. */
export const tellSubject = async (teller: SubjectTeller, outcome: Outcome, subject: string): Promise<TellResult> => {
  if (!isForeignSubject(subject)) {
    const why = `${JSON.stringify(subject)} is a subject of the platform, or none`;
    return { kind: "final", error: new BuskerError("destination_refused", `nothing is published there: ${why}`) };
  }
  try {
    const event = await eventOf(teller, outcome);
    await teller.publish(subject, event, event.attributes["id"] ?? "");
    return { kind: "told" };
  } catch (cause) {
    if (!(cause instanceof BuskerError)) throw cause;
    return cause.code === "bus_unavailable" ? { kind: "later", delayMs: 1000 } : { kind: "final", error: cause };
  }
};
