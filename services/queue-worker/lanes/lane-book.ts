import { type FunctionName, formatFunctionName, namePattern } from "../../../schemas/names.ts";
import { parseQueueSubject, type Priority } from "../../../schemas/subjects.ts";
import { Lane, type LaneQueue, type LaneWorld } from "./lane.ts";

// A queue that had nothing to hand out is asked again after this time: what is in it may have fallen due, or been left by a
// worker that died.
const askAgainMs = 2000;
// With very many queues that wait for something, each is asked more seldom, so that asking stays cheap.
const askAgainPerLaneMs = 2;

/** The lanes of a worker: one for each function that has queued calls. */
export class LaneBook {
  readonly #world: LaneWorld;
  readonly #lanes = new Map<string, Lane>();
  /** By function: calls that are not over, as last seen. */
  #depths: ReadonlyMap<string, number> = new Map();

  constructor(world: LaneWorld) {
    this.#world = world;
  }

  /** Calls that are not over, by function: `name.namespace`. */
  get depths(): ReadonlyMap<string, number> {
    return this.#depths;
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
    const depth = ({ key }: Lane): number => this.#depths.get(key) ?? 0;
    return [...this.#lanes.values()].filter((lane) => depth(lane) > 0).toSorted((a, b) => depth(b) - depth(a));
  }

  /** What the stream holds: wakes the lanes that may take some of it, and forgets those that have nothing. */
  note(counts: ReadonlyMap<string, number>): void {
    const depths = new Map<string, number>();
    const askBeforeMs = Date.now() - Math.max(askAgainMs, askAgainPerLaneMs * this.#lanes.size);
    for (const [subject, count] of counts) {
      const queue = this.queueAt(subject);
      if (!queue) continue;
      const { lane } = queue;
      depths.set(lane.key, (depths.get(lane.key) ?? 0) + count);
      if (count <= queue.inHand) continue;
      lane.sweep(queue);
      if (queue.emptyMs <= askBeforeMs) lane.expect(queue);
    }
    this.#depths = depths;
    for (const [key, lane] of this.#lanes) if (lane.isIdle && !depths.has(key)) this.#lanes.delete(key);
  }
}
