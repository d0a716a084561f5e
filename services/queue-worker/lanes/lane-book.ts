import { type FunctionName, formatFunctionName, namePattern } from "../../../schemas/names.ts";
import { parseQueueSubject, type Priority } from "../../../schemas/subjects.ts";
import { Lane, type LaneQueue, type LaneWorld } from "./lane.ts";

// A queue that had nothing to hand out is asked again after this time: what is in it may have fallen due, or been left by a
// worker that died.
const askAgainMs = 2000;
// With very many queues that wait for something, each is asked more seldom, so that asking stays cheap.
const askAgainPerLaneMs = 2;

/** What of a function is queued, as last seen. */
export interface Backlog {
  /** Calls that are not over. */
  readonly messages: number;
  /** Those of them that are not put off. */
  readonly due: number;
}

/**
 * Notes how many calls a queue holds, and gives how many of them are due: when its consumer had nothing to hand out, what was
 * there and in nobody's hand was put off. That counts until it is asked the next time, or should have been.
 */
const noteCount = (
  queue: LaneQueue,
  count: number,
  times: { readonly lastMs: number; readonly staleMs: number },
): number => {
  if (queue.isMade && queue.emptyMs > times.lastMs)
    queue.putOff = Math.max(0, Math.min(count, queue.seen) - queue.inHand);
  else if (queue.emptyMs < times.staleMs) queue.putOff = 0;
  queue.seen = count;
  return Math.max(0, count - queue.putOff);
};

/** The lanes of a worker: one for each function that has queued calls. */
export class LaneBook {
  readonly #world: LaneWorld;
  readonly #lanes = new Map<string, Lane>();
  #backlogs: ReadonlyMap<string, Backlog> = new Map();
  #notedMs = 0;

  constructor(world: LaneWorld) {
    this.#world = world;
  }

  /** By function: `name.namespace`. */
  get backlogs(): ReadonlyMap<string, Backlog> {
    return this.#backlogs;
  }

  /** The lane of a function, opened if need be. */
  open(name: FunctionName): Lane {
    const key = formatFunctionName(name);
    const known = this.#lanes.get(key);
    if (known) return known;
    const lane = new Lane(name, this.#world);
    this.#lanes.set(key, lane);
    return lane;
  }

  /** The queue whose subject this is, its lane opened if need be; undefined when it is no function's. */
  queueAt(subject: string): LaneQueue | undefined {
    const parts = parseQueueSubject(subject);
    if (!parts || !namePattern.test(parts.namespace) || !namePattern.test(parts.name)) return undefined;
    return this.open({ namespace: parts.namespace, name: parts.name }).queueOf(parts.priority);
  }

  /** A function may have a call of this priority. */
  expect(name: FunctionName, priority: Priority): void {
    const lane = this.open(name);
    lane.expect(lane.queueOf(priority));
  }

  /** A function's capacity may have grown. */
  onCapacity(name: FunctionName): void {
    this.#lanes.get(formatFunctionName(name))?.wake();
  }

  /** The server was away. */
  forgetConsumers(): void {
    for (const lane of this.#lanes.values()) lane.forgetConsumers();
  }

  /** The functions with the most calls that are not over, the most first. */
  longest(): readonly Lane[] {
    const depth = ({ key }: Lane): number => this.#backlogs.get(key)?.messages ?? 0;
    return [...this.#lanes.values()].filter((lane) => depth(lane) > 0).toSorted((a, b) => depth(b) - depth(a));
  }

  /** What the stream holds: wakes the lanes that may take some of it, and forgets those that have nothing. */
  note(counts: ReadonlyMap<string, number>): void {
    const backlogs = new Map<string, Backlog>();
    const nowMs = Date.now();
    const everyMs = Math.max(askAgainMs, askAgainPerLaneMs * this.#lanes.size);
    const times = { lastMs: this.#notedMs, staleMs: nowMs - 2 * everyMs };
    for (const [subject, count] of counts) {
      const queue = this.queueAt(subject);
      if (!queue) continue;
      const { lane } = queue;
      const { messages, due } = backlogs.get(lane.key) ?? { messages: 0, due: 0 };
      backlogs.set(lane.key, { messages: messages + count, due: due + noteCount(queue, count, times) });
      if (count <= queue.inHand) continue;
      lane.sweep(queue);
      if (queue.emptyMs <= nowMs - everyMs) lane.expect(queue);
    }
    this.#notedMs = nowMs;
    this.#backlogs = backlogs;
    for (const [key, lane] of this.#lanes) if (lane.isIdle && !backlogs.has(key)) this.#lanes.delete(key);
  }
}
