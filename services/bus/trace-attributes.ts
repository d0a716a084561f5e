import { BuskerError } from "../../schemas/errors.ts";
import { readTraceHeaders, type TraceHeaders } from "../../schemas/trace-context.ts";
import { decodeAttribute } from "./cloud-events.ts";
import { headerValue } from "./headers.ts";

const attributeOf = (headers: string, name: string): string | undefined => {
  const text = headerValue(headers, name);
  try {
    return text === undefined ? undefined : decodeAttribute(text);
  } catch (error) {
    // No call is refused for what only its tracing would have made use of.
    if (error instanceof BuskerError) return undefined;
    throw error;
  }
};

/**
 * Where an event stands in a trace, by a block of its headers (CloudEvents, "Distributed Tracing extension"). What is malformed is
 * as if it were absent.
 */
export const readTraceAttributes = (headers: string): TraceHeaders =>
  readTraceHeaders(attributeOf(headers, "ce-traceparent"), attributeOf(headers, "ce-tracestate"));
