import { recordsCalls } from "../../schemas/annotations.ts";
import type { FunctionSpec } from "../../schemas/function.ts";
import { formatFunctionName } from "../../schemas/names.ts";
import { callFilter, callSubject, metricAnyFilter } from "../../schemas/subjects.ts";
import { buckets, streams } from "../../schemas/topology.ts";
import type { Bus } from "./connection.ts";
import { bucketStream } from "./jetstream-subjects.ts";
import { readLast } from "./last-message.ts";

/**
 * What the server's clock shows now, in milliseconds since the epoch, or showed when it got the newest sample: seconds ago at
 * most, while any replica is awake. Undefined when there is no sample.
 */
export const readServerTime = async (bus: Bus): Promise<number | undefined> =>
  (await readLast(bus, streams.SAMPLES, metricAnyFilter))?.storedMs;

/**
 * When a call of a function last ended or changed its state, or its wish was last written, by the server's clock; undefined
 * where the record does not say: its calls are not recorded, or it has no synchronous one any more. Rejects with
 * `bus_unavailable` when the record cannot be read now.
 */
export const readLastActivity = async (bus: Bus, spec: FunctionSpec): Promise<number | undefined> => {
  if (!recordsCalls(spec)) return undefined;
  const { namespace, name } = spec;
  const wishes = { name: bucketStream(buckets.functions.name) };
  const [done, changed, wished] = await Promise.all([
    readLast(bus, streams.RECORD, callSubject("done", namespace, name)),
    readLast(bus, streams.CALLS, callFilter(namespace, name)),
    readLast(bus, wishes, `$KV.${buckets.functions.name}.${formatFunctionName(spec)}`),
  ]);
  return done && Math.max(done.storedMs, changed?.storedMs ?? 0, wished?.storedMs ?? 0);
};
