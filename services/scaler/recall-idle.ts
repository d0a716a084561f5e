import { keepsAtZero } from "../../schemas/annotations.ts";
import type { FunctionRecord } from "../../schemas/function.ts";
import { readScaleRules } from "../../schemas/scale-labels.ts";
import type { Bus } from "../bus/connection.ts";
import { readLastActivity, readServerTime } from "../bus/last-activity.ts";

// A thousand functions are not asked for in one go.
const atATime = 50;

const maySleep = ({ spec, replicas }: FunctionRecord): boolean =>
  replicas > 0 && readScaleRules(spec).zero && !keepsAtZero(spec);

/**
 * Tells of each function that may go to zero how long it has been idle, as far as the record of calls says, so that a scaler that
 * starts does not count from then. Rejects with `bus_unavailable` when the record cannot be read now.
 */
export const recallIdle = async (
  bus: Bus,
  records: ReadonlyMap<string, FunctionRecord>,
  tell: (key: string, idleMs: number) => void,
): Promise<void> => {
  const sleepy = [...records].filter(([, record]) => maySleep(record));
  if (sleepy.length === 0) return;
  const nowMs = await readServerTime(bus);
  if (nowMs === undefined) return;
  for (let at = 0; at < sleepy.length; at += atATime)
    await Promise.all(
      sleepy.slice(at, at + atATime).map(async ([key, { spec }]) => {
        const activeMs = await readLastActivity(bus, spec);
        if (activeMs !== undefined) tell(key, Math.max(0, nowMs - activeMs));
      }),
    );
};
