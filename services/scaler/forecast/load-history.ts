import type { LoadMinute } from "../../../schemas/load.ts";

/** The load of a minute as it is remembered; both 0 where nobody called. */
export interface SeenLoad {
  readonly started: number;
  readonly peak: number;
}

export const minuteMs = 60_000;
export const minutesADay = 24 * 60;

// Four weeks: what a week's rhythm is learnt from.
const keptDays = 28;
const keptGaps = 512;

const quiet: SeenLoad = { started: 0, peak: 0 };

/** The minutes of one day. Of an hour that nobody has watched nothing is known, which is not the same as no calls. */
interface Day {
  readonly isKnown: Uint8Array;
  readonly started: Float32Array;
  readonly peak: Uint16Array;
}

const emptyDay = (): Day => ({
  isKnown: new Uint8Array(minutesADay),
  started: new Float32Array(minutesADay),
  peak: new Uint16Array(minutesADay),
});

/** What the log says of one function: the loads of the last four weeks, and the gaps between its calls. */
export class LoadHistory {
  readonly #days = new Map<number, Day>();
  #gaps: number[] = [];
  #newest = Number.NEGATIVE_INFINITY;
  /** When the last call was begun before which nothing was missed since. */
  #unbrokenMs: number | undefined;
  /** When the last call was begun, milliseconds since the epoch. */
  lastCallMs: number | undefined;
  /** How long a replica takes to start, as the log says last. */
  startMs: number | undefined;

  /** Times without a call between two that were begun, in milliseconds, the oldest first. */
  get gaps(): readonly number[] {
    return this.#gaps;
  }

  /** Takes the next minute of the log; one that is known already changes nothing. */
  add(load: LoadMinute): void {
    const { minute, started, peak } = load;
    if (minute <= this.#newest) return;
    const first = minute - Math.min(load.quiet, keptDays * minutesADay);
    if (first > this.#newest + 1) this.#unbrokenMs = undefined;
    for (let at = Math.max(first, this.#newest + 1); at < minute; at += 1) this.#write(at, quiet);
    this.#write(minute, { started, peak });
    this.#newest = minute;
    this.startMs = load.startMs ?? this.startMs;
    if (started > 0 || peak > 0) this.#noteCalls(load);
    this.#forget(minute);
  }

  /** Notes that somebody has watched this minute and nobody called, before the log says so. */
  noteQuiet(minute: number): void {
    this.#write(minute, quiet);
  }

  /** The load of a minute; undefined where nobody has watched it. */
  at(minute: number): SeenLoad | undefined {
    const day = this.#days.get(Math.floor(minute / minutesADay));
    const within = minute % minutesADay;
    return day?.isKnown[within] ? { started: day.started[within] ?? 0, peak: day.peak[within] ?? 0 } : undefined;
  }

  #write(minute: number, { started, peak }: SeenLoad): void {
    const number = Math.floor(minute / minutesADay);
    const day = this.#days.get(number) ?? emptyDay();
    this.#days.set(number, day);
    const within = minute % minutesADay;
    day.isKnown[within] = 1;
    day.started[within] = started;
    day.peak[within] = Math.min(peak, 0xffff);
  }

  #noteCalls({ minute, started, first, last }: LoadMinute): void {
    const beginMs = minute * minuteMs;
    if (started > 0 && this.#unbrokenMs !== undefined) this.#gaps.push(beginMs + first * 1000 - this.#unbrokenMs);
    if (this.#gaps.length > keptGaps) this.#gaps = this.#gaps.slice(-keptGaps);
    // Where a call only went on, it did so until the end of the minute as far as is known.
    this.lastCallMs = beginMs + (started > 0 ? last * 1000 : minuteMs);
    this.#unbrokenMs = this.lastCallMs;
  }

  #forget(minute: number): void {
    const oldest = Math.floor(minute / minutesADay) - keptDays;
    for (const day of this.#days.keys()) if (day < oldest) this.#days.delete(day);
  }
}
