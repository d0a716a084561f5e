import { emptyHistogram, observe, type OpenHistogram } from "../../schemas/histogram.ts";
import { type FunctionName, formatFunctionName } from "../../schemas/names.ts";
import { sampleEveryMs } from "../../schemas/sample.ts";
import type { Bus } from "./connection.ts";
import type { CallCounts } from "./invoker.ts";
import { createSampleSender, type SampleSeries } from "./sample-sender.ts";

/** What one caller counts of one function. The hot path only adds to numbers. */
export interface CallerCounts {
  readonly started: () => void;
  /** A call ended with this status, so long after it was started. */
  readonly answered: (status: number, seconds: number) => void;
  /** A durable call was accepted. */
  readonly accepted: () => void;
}

/** What one gateway or queue-worker sees of the functions that it calls, told once a second while there is something. */
export interface CallerSamples {
  /** To be kept for the length of a call: looking a function up costs more than counting. */
  readonly of: (name: FunctionName) => CallerCounts;
  /** So many calls of this function wait for a slot, one more than before: told at once when they become many. */
  readonly parked: (name: FunctionName, waiting: number) => void;
  /** The function was removed: what was counted of it and not told is nobody's. */
  readonly forget: (name: FunctionName) => void;
  /** Tells what has been counted and not been told. */
  readonly flush: () => void;
  readonly stop: () => void;
}

/** Who calls, and what it knows of its calls now. */
export interface Caller {
  /** `gateway-<id>`, `queue-worker-<id>`: no other process has it. */
  readonly source: string;
  readonly counts: (name: FunctionName) => CallCounts;
}

// Each function has its own second, so that a thousand of them are not told in one go.
const tickMs = 100;
// The first of a burst waits for the others, and a burst is told no more often than ten times a second.
const burstMs = 10;
const betweenBurstsMs = 100;

/** Counts of one function that are to be told. */
class Series implements CallerCounts {
  readonly #name: FunctionName;
  readonly #stream: SampleSeries<"io.busker.metric.caller">;
  readonly #caller: Caller;
  readonly #onActive: (series: Series) => void;
  #started = 0;
  #answered: Record<string, OpenHistogram> = {};
  #accepted = 0;
  #isActive = false;
  /** From when on the next sample counts, and when the last was sent. */
  #sinceMs = 0;
  #toldMs = -betweenBurstsMs;
  #toldWaiting = 0;
  #burst: NodeJS.Timeout | undefined;

  constructor(
    parts: { readonly name: FunctionName; readonly stream: SampleSeries<"io.busker.metric.caller"> },
    caller: Caller,
    onActive: (series: Series) => void,
  ) {
    this.#name = parts.name;
    this.#stream = parts.stream;
    this.#caller = caller;
    this.#onActive = onActive;
  }

  started = (): void => {
    this.#started += 1;
    this.#wake();
  };

  answered = (status: number, seconds: number): void => {
    observe((this.#answered[status] ??= emptyHistogram()), seconds);
    this.#wake();
  };

  accepted = (): void => {
    this.#accepted += 1;
    this.#wake();
  };

  parked(waiting: number): void {
    this.#wake();
    // A line that only goes up and down is told once a second, like everything.
    if (this.#burst || waiting < 2 * this.#toldWaiting) return;
    const againMs = this.#toldMs + betweenBurstsMs - performance.now();
    this.#burst = setTimeout(
      () => {
        this.#burst = undefined;
        this.tell();
      },
      Math.max(burstMs, againMs),
    ).unref();
  }

  isDue(nowMs: number): boolean {
    return nowMs - this.#sinceMs >= sampleEveryMs;
  }

  /** Publishes a sample; true when there is nothing more to tell until the next call. */
  tell(): boolean {
    const { waiting, inFlight, oldestWaitMs } = this.#caller.counts(this.#name);
    const now = performance.now();
    const isQuiet =
      waiting + inFlight + this.#started + this.#accepted === 0 && Object.keys(this.#answered).length === 0;
    const seconds = (now - this.#sinceMs) / 1000;
    const counted = {
      started: this.#started,
      answered: this.#answered,
      ...(this.#accepted > 0 ? { accepted: this.#accepted } : {}),
    };
    if (!this.#stream.send({ seconds, waiting, oldestWaitMs, inFlight, ...counted })) return false;
    this.#started = 0;
    this.#answered = {};
    this.#accepted = 0;
    this.#sinceMs = now;
    this.#toldMs = now;
    this.#toldWaiting = waiting;
    this.#isActive = !isQuiet;
    return isQuiet;
  }

  drop(): void {
    clearTimeout(this.#burst);
    // Calls that have not ended yet count on, and nobody looks.
    this.#isActive = true;
  }

  #wake(): void {
    if (this.#isActive) return;
    this.#isActive = true;
    this.#sinceMs = performance.now();
    this.#onActive(this);
  }
}

/** Counts from now on. */
export const openCallerSamples = (bus: Bus, caller: Caller): CallerSamples => {
  const sender = createSampleSender(bus);
  const all = new Map<string, Series>();
  const active = new Set<Series>();
  const of = (name: FunctionName): Series => {
    const key = formatFunctionName(name);
    const known = all.get(key);
    if (known) return known;
    const stream = sender.open("io.busker.metric.caller", name, caller.source);
    const made = new Series({ name, stream }, caller, (series) => active.add(series));
    all.set(key, made);
    return made;
  };
  const tell = (series: Series): void => {
    if (series.tell()) active.delete(series);
  };
  const timer = setInterval(() => {
    const now = performance.now();
    for (const series of active) if (series.isDue(now)) tell(series);
  }, tickMs).unref();
  return {
    of,
    parked: (name, waiting) => of(name).parked(waiting),
    forget: (name) => {
      const key = formatFunctionName(name);
      const series = all.get(key);
      if (!series) return;
      series.drop();
      active.delete(series);
      all.delete(key);
    },
    flush: () => {
      for (const series of active) tell(series);
    },
    stop: () => {
      clearInterval(timer);
      sender.stop();
      for (const series of all.values()) series.drop();
    },
  };
};
