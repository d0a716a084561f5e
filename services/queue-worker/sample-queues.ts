import { formatFunctionName, type FunctionName, parseFunctionName } from "../../schemas/names.ts";
import { sampleEveryMs } from "../../schemas/sample.ts";
import type { Bus } from "../bus/connection.ts";
import { createSampleSender, type SampleSeries } from "../bus/sample-sender.ts";
import type { Functions } from "./functions.ts";
import type { QueueDepth } from "./queue-metrics.ts";

/** What telling of queues needs. */
export interface QueueSampleParts {
  /** `queue-worker-<id>`: no other process has it. */
  readonly source: string;
  readonly depths: () => ReadonlyMap<string, QueueDepth>;
  readonly functions: Pick<Functions, "find" | "onRemoved">;
}

interface Told {
  readonly series: SampleSeries<"io.busker.metric.queue">;
  sinceMs: number;
}

/**
 * Tells once a second how much waits for each function of which something does, and once that nothing does any more.
 * Every queue-worker tells of all queues, so that none is forgotten with one. Gives a function that stops it.
 */
export const sampleQueues = (bus: Bus, { source, depths, functions }: QueueSampleParts): (() => void) => {
  const sender = createSampleSender(bus);
  const told = new Map<string, Told>();
  const open = (key: string, name: FunctionName): Told => {
    const series = sender.open("io.busker.metric.queue", name, source);
    const made = { series, sinceMs: performance.now() - sampleEveryMs };
    told.set(key, made);
    return made;
  };
  const tell = (of: Told, depth: QueueDepth): boolean => {
    const now = performance.now();
    const oldestMs = depth.oldestMs === undefined ? 0 : Math.max(0, Date.now() - depth.oldestMs);
    const { messages, due } = depth;
    const isSent = of.series.send({ seconds: (now - of.sinceMs) / 1000, depth: messages, due, oldestMs });
    if (isSent) of.sinceMs = now;
    return isSent;
  };
  const timer = setInterval(() => {
    const now = depths();
    for (const [key, depth] of now) {
      const name = parseFunctionName(key);
      // What is queued for a function that is gone is nobody's wish.
      if (functions.find(name)) tell(told.get(key) ?? open(key, name), depth);
    }
    for (const [key, of] of told) if (!now.has(key) && tell(of, { messages: 0, due: 0 })) told.delete(key);
  }, sampleEveryMs);
  const unlisten = functions.onRemoved((name) => told.delete(formatFunctionName(name)));
  return () => {
    clearInterval(timer);
    unlisten();
    sender.stop();
  };
};
