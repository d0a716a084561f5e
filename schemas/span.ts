import { amount, type JsonSchema, listOf, mapOf, object, string, whole } from "./json-schema.ts";

/** How a span stands to others (OpenTelemetry, "SpanKind"). */
export const spanKinds = ["internal", "server", "client", "producer", "consumer"] as const;
export type SpanKind = (typeof spanKinds)[number];

/** What a span is described by; the names are OpenTelemetry's semantic conventions. */
export type SpanAttributes = Readonly<Record<string, string | number | boolean>>;

/** A span of another trace, or elsewhere in this one, that has to do with this one. */
export interface SpanLink {
  readonly traceId: string;
  readonly spanId: string;
}

/** One span that has ended. Times in milliseconds since the epoch, with fractions. */
export interface SpanData {
  readonly traceId: string;
  readonly spanId: string;
  /** Absent: the trace begins with it. */
  readonly parentId?: string;
  readonly name: string;
  readonly kind: SpanKind;
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: SpanAttributes;
  /** Why it failed. */
  readonly error?: string;
  readonly links?: readonly SpanLink[];
}

/** Data of a span event: what one replica has done for calls that are traced. */
export interface ReplicaSpans {
  readonly spans: readonly SpanData[];
  /** Spans that there was no room for since the last event. */
  readonly dropped: number;
}

/** Which calls without a trace begin one, and whether others follow theirs. */
export interface SamplingPolicy {
  /** From 0 to 1. */
  readonly ratio: number;
  /** A call that is in a trace is sampled when that is; else the ratio decides of each, by the trace's id. */
  readonly isParentBased: boolean;
}

// The last seven bytes are to be random (W3C Trace Context, level 2); of these as many bits as a number holds.
const randomDigits = 13;

/** Whether a trace's spans are kept; the same everywhere for one trace and one policy. */
export const isSampled = (
  { ratio, isParentBased }: SamplingPolicy,
  traceId: string,
  parent: { readonly isSampled: boolean } | undefined,
): boolean => {
  if (parent && isParentBased) return parent.isSampled;
  return Number.parseInt(traceId.slice(-randomDigits), 16) < ratio * 16 ** randomDigits;
};

const traceId = string({ description: "32 hexadecimal digits", pattern: "^[0-9a-f]{32}$" });
const spanId = string({ description: "16 hexadecimal digits", pattern: "^[0-9a-f]{16}$" });

/** The JSON Schema of a span event's data. */
export const replicaSpansSchema: JsonSchema = object({
  spans: listOf(
    object(
      {
        traceId,
        spanId,
        name: string(),
        kind: { enum: [...spanKinds] },
        startMs: amount("Milliseconds since the epoch, with fractions"),
        endMs: amount("Milliseconds since the epoch, with fractions"),
        attributes: mapOf({ type: ["string", "number", "boolean"] }),
      },
      {
        parentId: spanId,
        error: string({ description: "Why it failed" }),
        links: listOf(object({ traceId, spanId })),
      },
    ),
  ),
  dropped: whole("Spans that there was no room for since the last event"),
});
