import { type Histogram, timeBounds } from "./histogram.ts";
import type { CallerSample, DeployedMark, QueueSample, ReplicaSample } from "./sample.ts";

/** A sample that has been looked at. */
export type Sample =
  | { readonly kind: "replica"; readonly data: ReplicaSample }
  | { readonly kind: "caller"; readonly data: CallerSample }
  | { readonly kind: "queue"; readonly data: QueueSample }
  | { readonly kind: "deployed"; readonly data: DeployedMark };

// Far beyond what any second holds, and small enough that sums stay numbers.
const most = 1e9;

type Fields = Readonly<Record<string, unknown>>;

const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const isAmount = (value: unknown): value is number => typeof value === "number" && value >= 0 && value <= most;

const isCount = (value: unknown): value is number => isAmount(value) && Number.isInteger(value);

// Memory has more of bytes than that.
const isBytes = (value: unknown): value is number => typeof value === "number" && value >= 0 && value <= 1e15;

const isHistogram = (value: unknown): value is Histogram =>
  isFields(value) &&
  isAmount(value["sum"]) &&
  Array.isArray(value["counts"]) &&
  value["counts"].length <= timeBounds.length + 1 &&
  value["counts"].every(isCount);

const isByStatus = (value: unknown, isValue: (of: unknown) => boolean): boolean => {
  if (!isFields(value)) return false;
  for (const status in value) if (!/^[1-9]\d\d$/.test(status) || !isValue(value[status])) return false;
  return true;
};

const hasHead = ({ start, n, seconds }: Fields): boolean =>
  typeof start === "string" && start.length > 0 && start.length <= 64 && isCount(n) && n > 0 && isAmount(seconds);

const isReplicaSample = (data: Fields): boolean =>
  hasHead(data) &&
  isCount(data["started"]) &&
  isByStatus(data["finished"], isCount) &&
  isHistogram(data["durations"]) &&
  isHistogram(data["waits"]) &&
  isCount(data["inFlight"]) &&
  isCount(data["slots"]) &&
  isAmount(data["cpuSeconds"]) &&
  isBytes(data["memoryBytes"]);

const isCallerSample = (data: Fields): boolean =>
  hasHead(data) &&
  isCount(data["waiting"]) &&
  isAmount(data["oldestWaitMs"]) &&
  isCount(data["inFlight"]) &&
  isCount(data["started"]) &&
  isByStatus(data["answered"], isHistogram) &&
  (data["accepted"] === undefined || isCount(data["accepted"]));

const isQueueSample = (data: Fields): boolean =>
  hasHead(data) &&
  isCount(data["depth"]) &&
  (data["due"] === undefined || isCount(data["due"])) &&
  typeof data["oldestMs"] === "number" &&
  data["oldestMs"] >= 0;

const isMark = ({ createdAt }: Fields): boolean => typeof createdAt === "string";

const kinds = {
  "io.busker.metric": ["replica", isReplicaSample],
  "io.busker.metric.caller": ["caller", isCallerSample],
  "io.busker.metric.queue": ["queue", isQueueSample],
  "io.busker.metric.deployed": ["deployed", isMark],
} as const;

/**
 * An event of the stream of samples as its type; undefined when it is none. Replicas are not trusted: a number that is
 * none would spoil every sum that it is added to.
 */
export const readSample = (type: string, json: string): Sample | undefined => {
  const known = Object.hasOwn(kinds, type) ? kinds[type as keyof typeof kinds] : undefined;
  if (!known) return undefined;
  const data = parse(json);
  const [kind, isValid] = known;
  return isFields(data) && isValid(data) ? ({ kind, data } as unknown as Sample) : undefined;
};

const parse = (json: string): unknown => {
  try {
    return JSON.parse(json);
  } catch {
    // Not JSON is not a sample: said by the caller, as of every other fault.
    return undefined;
  }
};
