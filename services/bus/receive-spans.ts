import type { FunctionName } from "../../schemas/names.ts";
import { readSpans } from "../../schemas/read-spans.ts";
import type { ReplicaSpans } from "../../schemas/span.ts";
import { parseSpanSubject, spanAnyFilter, spanQueueGroup } from "../../schemas/subjects.ts";
import type { Bus } from "./connection.ts";

/** Spans of one replica. */
export interface ReceivedSpans extends ReplicaSpans, FunctionName {
  readonly replica: string;
}

/**
 * Takes the spans that replicas tell of, each for one of those who do; while nobody does, they are lost. What is no span event is
 * told to `onFault`: whatever a function may send there must stop nobody.
 */
export const receiveSpans = (
  bus: Bus,
  take: (spans: ReceivedSpans) => void,
  onFault: (subject: string) => void,
): void => {
  bus.nc.subscribe(spanAnyFilter, {
    queue: spanQueueGroup,
    callback: (error, message) => {
      if (error) return;
      const from = parseSpanSubject(message.subject);
      const told = from && readSpans(message.string());
      if (told) take({ ...told, ...from });
      else onFault(message.subject);
    },
  });
};
