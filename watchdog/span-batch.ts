import type { SpanData } from "../schemas/span.ts";
import { spanSubject } from "../schemas/subjects.ts";
import type { Bus } from "../services/bus/connection.ts";
import { publishEvent } from "../services/bus/events.ts";
import { createTraceClock, type SpanRecorder } from "../services/runtime/spans.ts";

/** Spans of a replica on their way to whoever exports them: a replica itself need not reach a collector. */
export interface SpanBatch extends SpanRecorder {
  readonly flush: () => void;
  readonly stop: () => void;
}

// Spans wait this long for company.
const everyMs = 250;
// About 250 KB, where a message may have a megabyte.
const maxSpans = 500;
// While the bus is away they collect up to here; later ones are dropped, and how many is said.
const maxWaiting = 2000;

/** Collects the spans of one replica and publishes them. */
export const openSpanBatch = (
  bus: Bus,
  { namespace, name, replica }: { readonly namespace: string; readonly name: string; readonly replica: string },
): SpanBatch => {
  const subject = spanSubject(namespace, name, replica);
  let waiting: SpanData[] = [];
  let dropped = 0;
  let timer: NodeJS.Timeout | undefined;
  const flush = (): void => {
    clearTimeout(timer);
    timer = undefined;
    if (!bus.isConnected()) return wait();
    while (waiting.length > 0) {
      publishEvent(bus, { subject, type: "io.busker.span", data: { spans: waiting.slice(0, maxSpans), dropped } });
      waiting = waiting.slice(maxSpans);
      dropped = 0;
    }
  };
  const wait = (): void => {
    timer ??= setTimeout(flush, everyMs).unref();
  };
  return {
    nowMs: createTraceClock(),
    take: (span) => {
      if (waiting.length >= maxWaiting) dropped += 1;
      else waiting.push(span);
      if (waiting.length === maxSpans) flush();
      else wait();
    },
    flush,
    stop: () => clearTimeout(timer),
  };
};
