const secondMs = 1000;

interface Slot {
  second: number;
  value: number;
}

/** A ring of values, one a second; those of seconds long past count as nothing. */
class Ring {
  readonly #slots: Slot[];

  constructor(seconds: number) {
    this.#slots = Array.from({ length: seconds }, () => ({ second: Number.NEGATIVE_INFINITY, value: 0 }));
  }

  change(second: number, change: (value: number) => number): void {
    const length = this.#slots.length;
    const slot = this.#slots[((second % length) + length) % length];
    if (!slot || slot.second > second) return;
    if (slot.second < second) Object.assign(slot, { second, value: 0 });
    slot.value = change(slot.value);
  }

  /** Folds the values of these seconds, in any order. */
  fold(first: number, last: number, add: (so: number, value: number) => number): number {
    let result = 0;
    for (const { second, value } of this.#slots) if (second >= first && second <= last) result = add(result, value);
    return result;
  }
}

/** How much there was a second, over the last full seconds. Times in milliseconds of one clock. */
export class RateWindow {
  readonly #seconds: number;
  readonly #ring: Ring;

  constructor(seconds: number) {
    this.#seconds = seconds;
    // The second that is just filling, too.
    this.#ring = new Ring(seconds + 1);
  }

  /** Adds an amount that came together in the last `coversSeconds`; what of it is older than the window is left out. */
  add(nowMs: number, amount: number, coversSeconds: number): void {
    const second = Math.floor(nowMs / secondMs);
    const parts = Math.max(1, Math.round(coversSeconds));
    for (let back = 0; back < Math.min(parts, this.#seconds); back += 1)
      this.#ring.change(second - back, (value) => value + amount / parts);
  }

  /** Of the last full seconds, or of those but the latest few. */
  rate(nowMs: number, butLatest = 0): number {
    const second = Math.floor(nowMs / secondMs);
    const sum = this.#ring.fold(second - this.#seconds, second - 1 - butLatest, (so, value) => so + value);
    return sum / (this.#seconds - butLatest);
  }
}

/** The most there was in the last seconds, the current one included. */
export class PeakWindow {
  readonly #seconds: number;
  readonly #ring: Ring;

  constructor(seconds: number) {
    this.#seconds = seconds;
    this.#ring = new Ring(seconds);
  }

  see(nowMs: number, value: number): void {
    this.#ring.change(Math.floor(nowMs / secondMs), (before) => Math.max(before, value));
  }

  peak(nowMs: number): number {
    const second = Math.floor(nowMs / secondMs);
    return this.#ring.fold(second - this.#seconds + 1, second, Math.max);
  }
}

// Values are pushed once a second.
const longestPauseMs = 5000;

/** The highest value that was pushed within a time, once values have come without a pause for that long. */
export class HighestWindow {
  // Falling from first to last: what is behind a higher one that came later can never be the highest again.
  #falling: { readonly atMs: number; readonly value: number }[] = [];
  #sinceMs: number | undefined;

  push(nowMs: number, value: number, keptMs: number): void {
    const lastMs = this.#falling.at(-1)?.atMs;
    // Whoever was stopped for a while has seen nothing of it.
    if (lastMs === undefined || nowMs - lastMs > longestPauseMs) {
      this.#sinceMs = nowMs;
      this.#falling = [];
    }
    const last = this.#falling.findLastIndex((entry) => entry.value > value);
    this.#falling.length = last + 1;
    this.#falling.push({ atMs: nowMs, value });
    const first = this.#falling.findIndex((entry) => entry.atMs > nowMs - keptMs);
    if (first > 0) this.#falling.splice(0, first);
  }

  /** The highest of the last `keptMs`; undefined while values have come for less than `leastMs`. */
  highest(nowMs: number, keptMs: number, leastMs: number): number | undefined {
    if (this.#sinceMs === undefined || nowMs - this.#sinceMs < Math.max(keptMs, leastMs)) return undefined;
    return this.#falling.find((entry) => entry.atMs > nowMs - keptMs)?.value ?? this.#falling.at(-1)?.value;
  }
}
