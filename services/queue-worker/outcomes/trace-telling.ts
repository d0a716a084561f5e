import type { OutcomeTarget } from "../../../schemas/call.ts";
import { formatFunctionName } from "../../../schemas/names.ts";
import type { SpanAttributes } from "../../../schemas/span.ts";
import { parseTraceparent } from "../../../schemas/trace-context.ts";
import type { TakenOutcome } from "../../bus/outcomes.ts";
import type { TracedStart, Tracing } from "../../runtime/tracing.ts";
import type { TellResult } from "./tell-result.ts";

/** A URL without what may be a secret in it. */
const plainUrl = (text: string): string => {
  if (!URL.canParse(text)) return "";
  const { protocol, host, pathname } = new URL(text);
  return `${protocol}//${host}${pathname}`;
};

const startOf = (target: OutcomeTarget): Pick<TracedStart, "name" | "kind"> & { attributes: SpanAttributes } => {
  switch (target.kind) {
    case "url":
      return {
        name: "callback",
        kind: "client",
        attributes: { "http.request.method": "POST", "url.full": plainUrl(target.url) },
      };
    case "function": {
      const name = formatFunctionName(target.function);
      return { name: `chain ${name}`, kind: "producer", attributes: { "faas.invoked_name": name } };
    }
    case "subject":
      return {
        name: `publish ${target.subject}`,
        kind: "producer",
        attributes: { "messaging.system": "nats", "messaging.destination.name": target.subject },
      };
  }
};

const caused = (outcome: TakenOutcome, traceparent: string): TakenOutcome => ({
  ...outcome,
  whole: { ...outcome.whole, record: { ...outcome.whole.record, traceparent } },
});

/** Traces one try to tell an outcome, and has who is told caused by it. A try that was none leaves no span. */
export const traceTelling = async (
  tracing: Tracing | undefined,
  outcome: TakenOutcome,
  tell: (outcome: TakenOutcome) => Promise<TellResult>,
): Promise<TellResult> => {
  if (!tracing) return tell(outcome);
  const { record } = outcome.whole;
  const start = startOf(outcome.target);
  const span = tracing.begin({
    ...start,
    parent: parseTraceparent(record.traceparent),
    attributes: {
      ...start.attributes,
      "faas.invocation.id": record.id,
      "faas.name": formatFunctionName(record.function),
      "busker.try": outcome.tries + 1,
    },
  });
  const result = await tell(caused(outcome, span.traceparent));
  if (result.kind === "later") return result;
  if (result.status !== undefined) span.describe({ "http.response.status_code": result.status });
  span.end({ error: result.kind === "told" ? undefined : result.error.message.slice(0, 1024) });
  return result;
};
