import { randomBytes } from "node:crypto";
import { isSampled, type SpanAttributes, type SpanData } from "../../schemas/span.ts";
import type { TraceContext } from "../../schemas/trace-context.ts";
import type { Log } from "./log.ts";
import { release } from "./release.ts";
import { createTraceClock, newTraceId, OpenSpan, type SpanStart } from "./spans.ts";
import type { TracingConfig } from "./tracing-config.ts";

/** The start of a span whose cause may be elsewhere. */
export interface TracedStart extends SpanStart {
  /** As it came, checked; absent: a trace begins here. */
  readonly parent?: TraceContext | undefined;
}

/** Traces what a service does. There is none where tracing is off: whoever has it does what tracing takes, and nobody else. */
export interface Tracing {
  /** Begins a span, and decides whether its trace is sampled. */
  readonly begin: (start: TracedStart) => OpenSpan;
  /** Spans of another process, described by these attributes. */
  readonly pass: (spans: readonly SpanData[], resource: SpanAttributes) => void;
  readonly stop: () => Promise<void>;
}

/** Starts tracing where a configuration asks for it; only then OpenTelemetry is loaded. */
export const openTracing = async (
  config: TracingConfig | undefined,
  service: string,
  log: Log,
): Promise<Tracing | undefined> => {
  if (!config) return undefined;
  const { createResource, openSpanExport } = await import("./export-spans.ts");
  const own = {
    "service.name": `busker-${service}`,
    "service.namespace": "busker",
    "service.version": release,
    "service.instance.id": `${service}-${randomBytes(4).toString("hex")}`,
  };
  const { take, stop } = openSpanExport(config, own, log);
  const recorder = { nowMs: createTraceClock(), take: (span: SpanData) => take(span) };
  return {
    begin: ({ parent, ...start }) => {
      const traceId = parent?.traceId ?? newTraceId();
      const at = { traceId, parentId: parent?.spanId, isSampled: isSampled(config.sampling, traceId, parent) };
      return new OpenSpan(recorder, start, at);
    },
    pass: (spans, attributes) => {
      const resource = createResource(attributes);
      for (const span of spans) take(span, resource);
    },
    stop,
  };
};
