/** Where a call stands in a trace (W3C Trace Context): what caused it, and whether its spans are kept. */
export interface TraceContext {
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  /** Of the span that caused it: 16 hexadecimal digits. */
  readonly spanId: string;
  readonly isSampled: boolean;
}

// Version, trace, parent, flags; a later version may have more behind it (W3C Trace Context, "Versioning of traceparent").
const form = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const noTrace = "0".repeat(32);
const noSpan = "0".repeat(16);

/** Reads a `traceparent`; undefined when there is none, or it is malformed and so is ignored. */
export const parseTraceparent = (text: string | undefined): TraceContext | undefined => {
  const [, version, traceId, spanId, flags, more] = form.exec(text ?? "") ?? [];
  if (traceId === undefined || spanId === undefined || version === "ff" || (version === "00" && more !== undefined))
    return undefined;
  if (traceId === noTrace || spanId === noSpan) return undefined;
  return { traceId, spanId, isSampled: (Number.parseInt(flags ?? "", 16) & 1) === 1 };
};

/** The `traceparent` of what this context causes. */
export const formatTraceparent = ({ traceId, spanId, isSampled }: TraceContext): string =>
  `00-${traceId}-${spanId}-${isSampled ? "01" : "00"}`;

// What everybody must be able to pass on (W3C Trace Context, "tracestate Limits").
const maxStateLength = 512;

/** A `tracestate` that may travel on; undefined when there is none, or one that nobody has to pass on. */
export const readTracestate = (text: string | undefined): string | undefined =>
  text !== undefined && text.length <= maxStateLength && /^[\x20-\x7e]*[\x21-\x7e][\x20-\x7e]*$/.test(text)
    ? text
    : undefined;

/** What travels with a call: `ce-traceparent` and `ce-tracestate` on the bus. The state is nothing without its parent. */
export interface TraceHeaders {
  readonly traceparent?: string | undefined;
  readonly tracestate?: string | undefined;
}

/** Both headers as they may travel on: without a parent that can be read there is neither. */
export const readTraceHeaders = (traceparent: string | undefined, tracestate: string | undefined): TraceHeaders => {
  if (traceparent === undefined || !parseTraceparent(traceparent)) return {};
  const state = readTracestate(tracestate);
  return state === undefined ? { traceparent } : { traceparent, tracestate: state };
};

const isTraceHeader = (name: string): boolean => /^trace(parent|state)$/i.test(name);

/** Header names and values in turn, with these two instead of what they say of a trace. */
export const withTraceHeaders = (
  headers: readonly string[],
  { traceparent, tracestate }: TraceHeaders,
): readonly string[] => {
  const others: string[] = [];
  for (let at = 0; at + 1 < headers.length; at += 2)
    if (!isTraceHeader(headers[at] ?? "")) others.push(headers[at] ?? "", headers[at + 1] ?? "");
  if (traceparent !== undefined) others.push("traceparent", traceparent);
  if (tracestate !== undefined) others.push("tracestate", tracestate);
  return others;
};
