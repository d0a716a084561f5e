import { type FunctionName, formatFunctionName } from "../../../schemas/names.ts";
import { priorities, type Priority, queueSubject } from "../../../schemas/subjects.ts";
import type { Capacity } from "../../bus/invoker.ts";
import type { PullEnd, PullRequest } from "../../bus/pull.ts";
import type { QueueConsumer } from "../../bus/work-queue.ts";
import { reportFault } from "../../bus/report-fault.ts";
import type { Held } from "./held.ts";
import type { Taker } from "./turnstile.ts";

/** The calls of one function and one priority, as far as they are known here. */
export interface LaneQueue {
  readonly lane: Lane;
  readonly priority: Priority;
  readonly consumer: QueueConsumer;
  /** Worth asking for: something came, fell due, or is there and in nobody's hand that is known here. */
  mayHave: boolean;
  /** The consumer is known to be there. */
  isMade: boolean;
  /** Deliveries of it in hand here. */
  inHand: number;
  /** When it had nothing to hand out, milliseconds since the epoch; 0: never since the server is there. */
  emptyMs: number;
  /** Calls in it as last seen; and those of them that nobody has in hand and that could not be had. */
  seen: number;
  putOff: number;
  /** When it was last looked through for calls that are over, milliseconds since the epoch. */
  sweptMs: number;
}

/** What a lane needs of the world; a test passes a literal. */
export interface LaneWorld {
  readonly leaseMs: number;
  readonly capacity: (name: FunctionName) => Capacity;
  readonly ensureConsumer: (consumer: QueueConsumer) => Promise<void>;
  readonly removeForgetful: (consumer: QueueConsumer) => Promise<boolean>;
  readonly pull: (request: PullRequest) => void;
  readonly isConnected: () => boolean;
  /** Puts the lane in line for a turn. */
  readonly enter: (lane: Lane) => void;
}

// Until the first call has come. Bodies of one message may weigh twice as much, and mostly weigh far less.
const unknownBytes = 4 * 1024 * 1024;
const leastBytes = 1024;
// How fast a large body is forgotten: the next batch may be a little larger with each call that was smaller.
const forgetting = 7 / 8;

// Calls that are over stay in the stream only after a server was killed.
const sweepMs = 10_000;

/**
 * What this worker does about one function's queued calls: holds as many as the function has free slots, and takes the next
 * ones as calls leave it, the most urgent first.
 */
export class Lane implements Taker {
  readonly function: FunctionName;
  readonly key: string;
  /** The most urgent first. */
  readonly queues: readonly LaneQueue[];
  /** By their numbers in the stream. */
  readonly held = new Map<number, Held>();
  readonly #world: LaneWorld;
  #inFunction = 0;
  #largestBytes: number | undefined;
  #isTaking = false;

  constructor(name: FunctionName, world: LaneWorld) {
    this.function = name;
    this.key = formatFunctionName(name);
    this.#world = world;
    this.queues = priorities.map((priority) => ({
      lane: this,
      priority,
      consumer: {
        name: `${name.namespace}_${name.name}_${priority}`,
        subject: queueSubject(name.namespace, name.name, priority),
        leaseMs: world.leaseMs,
      },
      mayHave: false,
      isMade: false,
      inHand: 0,
      emptyMs: 0,
      seen: 0,
      putOff: 0,
      sweptMs: 0,
    }));
  }

  get inHand(): number {
    return this.held.size;
  }

  get expectedBytes(): number {
    return this.#largestBytes ?? unknownBytes;
  }

  /** Nothing in hand, and nothing known that could be. */
  get isIdle(): boolean {
    return this.held.size === 0 && !this.#isTaking && !this.queues.some(({ mayHave }) => mayHave);
  }

  /**
   * As many as there are free slots for which no call is in hand yet; and one where none is on its way to a slot: it waits in the
   * function's line, and so starts replicas and asks for slots that others hold.
   */
  wanted(): number {
    if (this.#isTaking || !this.queues.some(({ mayHave }) => mayHave)) return 0;
    const { free, inFlight } = this.#world.capacity(this.function);
    const underWay = this.#inFunction - inFlight;
    return Math.max(free - underWay, underWay <= 0 ? 1 : 0);
  }

  /** Asks the most urgent queue that may have something. */
  take(batch: number, ended: () => void): void {
    const queue = this.queues.find(({ mayHave }) => mayHave);
    if (!queue) return ended();
    queue.mayHave = false;
    this.#isTaking = true;
    const over = (end: PullEnd): void => {
      this.#isTaking = false;
      this.#noteEnd(queue, end);
      ended();
      this.wake();
    };
    const pull = (): void => this.#world.pull({ consumer: queue.consumer.name, batch, ended: over });
    if (queue.isMade) return pull();
    void this.#make(queue).then((isMade) => (isMade ? pull() : over("empty")));
  }

  /** Asks for a turn if there is something to take. */
  wake(): void {
    if (!this.#isTaking && this.queues.some(({ mayHave }) => mayHave)) this.#world.enter(this);
  }

  /** Something of a queue may be there. */
  expect(queue: LaneQueue): void {
    queue.mayHave = true;
    this.wake();
  }

  /** Its queue of one priority. */
  queueOf(priority: Priority): LaneQueue {
    const queue = this.queues[priorities.indexOf(priority)];
    if (!queue) throw new RangeError(`there is no priority ${priority}`);
    return queue;
  }

  /** A call came in hand. */
  add(held: Held): void {
    this.held.set(held.seq, held);
    held.queue.inHand += 1;
    this.#inFunction += 1;
    this.#largestBytes = Math.max(held.bytes, (this.#largestBytes ?? 0) * forgetting, leastBytes);
  }

  /** A call in hand has left the function. */
  release(): void {
    this.#inFunction -= 1;
    this.wake();
  }

  /** A call that was released is settled. */
  drop(held: Held): void {
    if (this.held.get(held.seq) === held) this.held.delete(held.seq);
    held.queue.inHand -= 1;
  }

  /** The server was away: consumers may be gone with what it had not written. */
  forgetConsumers(): void {
    for (const queue of this.queues) {
      queue.isMade = false;
      queue.emptyMs = 0;
      queue.sweptMs = 0;
    }
  }

  /** Has nothing to hand out, and yet there is something: it may be over. */
  sweep(queue: LaneQueue): void {
    const now = Date.now();
    if (queue.emptyMs === 0 || now - queue.sweptMs < sweepMs) return;
    queue.sweptMs = now;
    this.#world.removeForgetful(queue.consumer).then(
      (isRemoved) => {
        if (!isRemoved) return;
        queue.isMade = false;
        this.expect(queue);
      },
      (cause: unknown) => {
        if (this.#world.isConnected()) reportFault(`could not look after the queued calls of ${this.key}`, cause);
      },
    );
  }

  #noteEnd(queue: LaneQueue, end: PullEnd): void {
    if (end === "full") queue.mayHave = true;
    if (end === "empty") queue.emptyMs = Date.now();
    if (end !== "gone") return;
    queue.isMade = false;
    // Else it is looked at when the server is back.
    queue.mayHave = this.#world.isConnected();
  }

  async #make(queue: LaneQueue): Promise<boolean> {
    try {
      await this.#world.ensureConsumer(queue.consumer);
      queue.isMade = true;
      return true;
    } catch (cause) {
      // Tried again when discovery finds its calls once more, a second or two later.
      if (this.#world.isConnected()) reportFault(`could not take calls of ${this.key}`, cause);
      return false;
    }
  }
}
