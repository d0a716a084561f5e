import { formatFunctionName } from "../../schemas/names.ts";
import type { Bus } from "../bus/connection.ts";
import { receiveSpans } from "../bus/receive-spans.ts";
import type { Log } from "../runtime/log.ts";
import type { Tracing } from "../runtime/tracing.ts";

// A function may send what is no span as fast as it likes.
const betweenWarningsMs = 60_000;

/** Exports what replicas tell of the calls that they trace, as theirs: who they are is by the subject, and not their word. */
export const followSpans = (bus: Bus, tracing: Tracing, log: Log): void => {
  let warnedMs = -betweenWarningsMs;
  receiveSpans(
    bus,
    ({ namespace, name, replica, spans, dropped }) => {
      if (dropped > 0) log.warn("a replica had no room for spans", { replica, dropped });
      tracing.pass(spans, {
        "service.name": name,
        "service.namespace": namespace,
        "service.instance.id": replica,
        "faas.name": formatFunctionName({ namespace, name }),
        "faas.instance": replica,
      });
    },
    (subject) => {
      if (performance.now() - warnedMs < betweenWarningsMs) return;
      warnedMs = performance.now();
      log.warn("a message that is no spans was dropped", { subject });
    },
  );
};
