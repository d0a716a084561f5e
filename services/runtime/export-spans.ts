import {
  diag,
  DiagLogLevel,
  type HrTime,
  SpanKind as ApiSpanKind,
  SpanStatusCode,
  TraceFlags,
} from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import {
  defaultResource,
  detectResources,
  envDetector,
  type Resource,
  resourceFromAttributes,
} from "@opentelemetry/resources";
import { BatchSpanProcessor, type ReadableSpan, type SpanExporter } from "@opentelemetry/sdk-trace-base";
import type { SpanAttributes, SpanData, SpanKind } from "../../schemas/span.ts";
import { describeError, type Log } from "./log.ts";
import { release } from "./release.ts";
import type { TracingConfig } from "./tracing-config.ts";

/** Sends spans to a collector. Only what traces loads this module: it brings OpenTelemetry's with it. */
export interface SpanExport {
  /** Of this process, or with `resource` of another; dropped without a word to the caller while too many wait. */
  readonly take: (span: SpanData, resource?: Resource) => void;
  /** Sends what waits, and gives up after a while: a collector that is away holds nobody up. */
  readonly stop: () => Promise<void>;
}

// A service that is told to stop has a few seconds in all.
const stopMs = 2000;

const kinds: Readonly<Record<SpanKind, ApiSpanKind>> = {
  internal: ApiSpanKind.INTERNAL,
  server: ApiSpanKind.SERVER,
  client: ApiSpanKind.CLIENT,
  producer: ApiSpanKind.PRODUCER,
  consumer: ApiSpanKind.CONSUMER,
};

const timeOf = (ms: number): HrTime => {
  const seconds = Math.floor(ms / 1000);
  return [seconds, Math.floor((ms - seconds * 1000) * 1e6)];
};

const scope = { name: "busker", version: release };

const contextOf = (traceId: string, spanId: string) => ({ traceId, spanId, traceFlags: TraceFlags.SAMPLED });

const toReadable = (span: SpanData, resource: Resource): ReadableSpan => ({
  name: span.name,
  kind: kinds[span.kind],
  spanContext: () => contextOf(span.traceId, span.spanId),
  ...(span.parentId === undefined ? {} : { parentSpanContext: contextOf(span.traceId, span.parentId) }),
  startTime: timeOf(span.startMs),
  endTime: timeOf(span.endMs),
  duration: timeOf(Math.max(0, span.endMs - span.startMs)),
  status:
    span.error === undefined ? { code: SpanStatusCode.UNSET } : { code: SpanStatusCode.ERROR, message: span.error },
  attributes: { ...span.attributes },
  links: (span.links ?? []).map(({ traceId, spanId }) => ({ context: contextOf(traceId, spanId) })),
  events: [],
  ended: true,
  resource,
  instrumentationScope: scope,
  droppedAttributesCount: 0,
  droppedEventsCount: 0,
  droppedLinksCount: 0,
});

/** A resource: whose spans they are. */
export const createResource = (attributes: SpanAttributes): Resource => resourceFromAttributes({ ...attributes });

const ownResource = (service: SpanAttributes): Resource =>
  // The variables OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say it better than we do.
  defaultResource()
    .merge(createResource(service))
    .merge(detectResources({ detectors: [envDetector] }));

/** Says when a collector does not take spans, and when it does again: not each time in between. */
const tellOutages = (exporter: SpanExporter, log: Log): SpanExporter => {
  let lost = 0;
  return {
    export: (spans, done) =>
      exporter.export(spans, (result) => {
        if (result.error && lost === 0) log.warn("spans are lost", { error: describeError(result.error) });
        else if (!result.error && lost > 0) log.info("spans are taken again", { lost });
        lost = result.error ? lost + spans.length : 0;
        // It has been told; OpenTelemetry would write down each.
        done({ code: ok });
      }),
    shutdown: () => exporter.shutdown(),
  };
};

const tellFaults = (log: Log): void => {
  const tell = (message: string): void => log.warn("spans", { what: message });
  const silent = (): void => {};
  // What it says below a warning is for those who look for faults in OpenTelemetry itself.
  diag.setLogger(
    { error: tell, warn: tell, info: silent, debug: silent, verbose: silent },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  );
};

// ExportResultCode.SUCCESS of a package that is none of those we name.
const ok = 0;

const within = (ms: number, work: Promise<void>): Promise<void> => {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
};

/** Opens it; nothing is sent before there is a span. */
export const openSpanExport = ({ url, delayMs }: TracingConfig, service: SpanAttributes, log: Log): SpanExport => {
  tellFaults(log);
  const own = ownResource(service);
  const exporter = tellOutages(new OTLPTraceExporter({ url }), log);
  const processor = new BatchSpanProcessor(exporter, { scheduledDelayMillis: delayMs });
  return {
    take: (span, resource = own) => processor.onEnd(toReadable(span, resource)),
    stop: () => within(stopMs, processor.shutdown()),
  };
};
