import type { FunctionName } from "../../schemas/names.ts";
import type { CallerSample, QueueSample, ReplicaSample } from "../../schemas/sample.ts";
import { parseMetricSubject } from "../../schemas/subjects.ts";
import type { BusMessage } from "../bus/connection.ts";
import { headerText, headerValue } from "../bus/headers.ts";

/** A sample of one source about one function. */
export type SampleNews = { readonly function: FunctionName; readonly source: string } & (
  | { readonly kind: "replica"; readonly sample: ReplicaSample }
  | { readonly kind: "caller"; readonly sample: CallerSample }
  | { readonly kind: "queue"; readonly sample: QueueSample }
);

type Data = Readonly<Record<string, unknown>>;

// A replica belongs to its function, which may say anything: what is no amount must not come into any sum.
const isAmount = (value: unknown): boolean =>
  typeof value === "number" && value >= 0 && value <= Number.MAX_SAFE_INTEGER;

const hasAmounts = (data: unknown, keys: readonly string[]): data is Data =>
  typeof data === "object" && data !== null && keys.every((key) => isAmount((data as Data)[key]));

const isHistogram = (value: unknown): boolean =>
  hasAmounts(value, ["sum"]) && Array.isArray(value["counts"]) && value["counts"].every(isAmount);

const isSample = (data: unknown, keys: readonly string[]): data is Data =>
  hasAmounts(data, ["n", "seconds", ...keys]) && typeof data["start"] === "string" && data["start"].length <= 64;

const kinds: Readonly<
  Record<string, { readonly kind: SampleNews["kind"]; readonly holds: (data: unknown) => boolean }>
> = {
  "io.busker.metric": {
    kind: "replica",
    holds: (data) => isSample(data, ["started", "inFlight", "slots", "cpuSeconds"]) && isHistogram(data["durations"]),
  },
  "io.busker.metric.caller": {
    kind: "caller",
    holds: (data) => isSample(data, ["waiting", "oldestWaitMs", "inFlight", "started"]),
  },
  "io.busker.metric.queue": {
    kind: "queue",
    holds: (data) => isSample(data, ["depth", "oldestMs"]) && (data["due"] === undefined || isAmount(data["due"])),
  },
};

const parse = (bytes: Uint8Array): unknown => {
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8"));
  } catch {
    return undefined;
  }
};

/**
 * Reads a sample; undefined for what is none. Thousands come a second, and so nothing is read of the event that is not
 * needed: its type is taken from the header, and an event in structured mode counts as none.
 */
export const readSample = (message: BusMessage): SampleNews | undefined => {
  const name = parseMetricSubject(message.subject);
  const type = kinds[headerValue(headerText(message), "ce-type") ?? ""];
  if (!name || !type) return undefined;
  const sample = parse(message.data);
  if (!type.holds(sample)) return undefined;
  const { namespace, source } = name;
  return { function: { namespace, name: name.name }, source, kind: type.kind, sample } as SampleNews;
};
