/** Somebody who takes calls in batches, in turn with others. */
export interface Taker {
  /** Calls that it has in hand. */
  readonly inHand: number;
  /** What one more call is expected to weigh. */
  readonly expectedBytes: number;
  /** How many more it would take now. */
  readonly wanted: () => number;
  /** Takes so many at most, and calls `ended` once when no more of them will come. */
  readonly take: (batch: number, ended: () => void) => void;
}

/** Bounds of what one worker has in hand. */
export interface TurnstileLimits {
  readonly maxCalls: number;
  readonly maxBytes: number;
}

// Requests to the server at a time: enough to keep it busy, few enough that a thousand functions do not crowd it.
const maxTurns = 64;
// A batch is what one turn takes.
const maxBatch = 64;
// Who has nothing in hand may go so far beyond the bound of bytes: else a few functions with large bodies and no replicas would
// stop all others.
const overdraft = 4;

/**
 * Lets takers in one after the other, each for a batch, so that together they never hold more than one worker should: round
 * robin, and who has nothing in hand first. Such a one gets a call whatever the others hold: functions whose calls are slow
 * or whose replicas do not start hold up nobody. So there are `maxCalls` calls in hand, and one more for each function.
 */
export class Turnstile {
  readonly #limits: TurnstileLimits;
  /** Those with nothing in hand, and the others: in the order in which they came. */
  readonly #first = new Set<Taker>();
  readonly #more = new Set<Taker>();
  #calls = 0;
  #bytes = 0;
  #turns = 0;
  #isDue = false;
  #isClosed = false;

  constructor(limits: TurnstileLimits) {
    this.#limits = limits;
  }

  /** Puts a taker in line, once. */
  enter(taker: Taker): void {
    if (this.#first.has(taker)) return;
    const isFirst = taker.inHand === 0;
    if (isFirst) this.#more.delete(taker);
    (isFirst ? this.#first : this.#more).add(taker);
    this.#wake();
  }

  /** A call came. */
  came(bytes: number): void {
    this.#calls += 1;
    this.#bytes += bytes;
  }

  /** A call went. */
  went(bytes: number): void {
    this.#calls -= 1;
    this.#bytes -= bytes;
    this.#wake();
  }

  /** Lets nobody in any more. */
  close(): void {
    this.#isClosed = true;
  }

  /** Together, after everything that has come in at the same time: the more a turn takes, the less it costs. */
  #wake(): void {
    if (this.#isDue || this.#first.size + this.#more.size === 0) return;
    this.#isDue = true;
    setImmediate(() => {
      this.#isDue = false;
      this.#letIn();
    });
  }

  #letIn(): void {
    while (!this.#isClosed && this.#turns < maxTurns) {
      const taker = this.#next();
      if (!taker) return;
      const batch = Math.min(taker.wanted(), this.#share(taker));
      if (batch > 0) this.#give(taker, batch);
    }
  }

  #give(taker: Taker, batch: number): void {
    const bytes = batch * taker.expectedBytes;
    this.#turns += 1;
    this.#calls += batch;
    this.#bytes += bytes;
    taker.take(batch, () => {
      this.#turns -= 1;
      this.#calls -= batch;
      this.#bytes -= bytes;
      this.#wake();
    });
  }

  #next(): Taker | undefined {
    const { maxCalls, maxBytes } = this.#limits;
    const first = this.#bytes < maxBytes * overdraft ? shift(this.#first) : undefined;
    if (first) return first;
    return this.#calls < maxCalls && this.#bytes < maxBytes ? shift(this.#more) : undefined;
  }

  #share({ expectedBytes }: Taker): number {
    const { maxCalls, maxBytes } = this.#limits;
    const sharers = 1 + this.#first.size + this.#more.size;
    const calls = Math.floor((maxCalls - this.#calls) / sharers);
    const bytes = Math.floor((maxBytes - this.#bytes) / expectedBytes);
    return Math.max(1, Math.min(calls, bytes, maxBatch));
  }
}

const shift = (takers: Set<Taker>): Taker | undefined => {
  const [first] = takers;
  if (first) takers.delete(first);
  return first;
};
