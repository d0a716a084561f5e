import type { LoadMinute } from "../../../schemas/load.ts";
import type { ScaleRules } from "../../../schemas/scale-labels.ts";
import { recommend } from "../recommend.ts";
import { findGapWindow, type GapWindow } from "./gap-window.ts";
import { LoadHistory, minuteMs, type SeenLoad } from "./load-history.ts";
import { expectedAt, soonestMinutes } from "./rhythm.ts";

/** How many replicas a function is to have though nobody calls it yet, and what that costs when nobody does. */
export interface Forecast {
  readonly replicas: number;
  readonly because: "rhythm" | "gaps";
  /** Milliseconds since the epoch: when it ends if nothing happens. */
  readonly untilMs: number;
  /** Most replica-seconds that it adds until then to what the load alone asks for: all of them, when nobody calls. */
  readonly costs: number;
}

/** What a forecast rests on besides the log. */
export interface ForecastInput {
  readonly rules: ScaleRules;
  /** Calls one replica takes at a time; 0: no limit. */
  readonly slots: number;
  /** Whether the function may go to zero when it is idle. */
  readonly canSleep: boolean;
  /** Milliseconds since the epoch. */
  readonly nowMs: number;
  /** How long a replica takes to start, where that was measured since the log says it. */
  readonly startMs: number | undefined;
  /** When the last call was begun, milliseconds since the epoch, where that was seen since the log says it. */
  readonly calledMs: number | undefined;
}

// What a replica is given to start that nobody has seen start yet.
const unknownStartMs = 5000;
// How long a rhythm is believed in though no call comes: a holiday costs no more than this at a time.
const patienceMinutes = 10;
const furthestMinutes = 4 * 60;
const keptMinutes = 1000;

/** How many replicas a load that was seen had work for. Load on CPU and in queues is not in the log. */
const neededFor = ({ started, peak }: SeenLoad, { rules, slots }: Pick<ForecastInput, "rules" | "slots">): number => {
  if (started === 0 && peak === 0) return 0;
  const load = { rps: started / 60, peakCalls: peak, inFlight: peak };
  const nothing = { cpuMillicores: 0, queued: 0, parked: 0, areCallersKnown: true, oldestWaitMs: 0, callMs: undefined };
  return recommend({ rules, slots, ready: 0, load: { ...load, ...nothing } }).replicas;
};

const leastOf = ({ rules, canSleep }: ForecastInput): number => (canSleep ? 0 : Math.max(1, rules.min));

/** Learns one function's rhythm and gaps from the log of its load, and says what is to come. */
export class Forecaster {
  readonly history = new LoadHistory();
  // What is expected rests on a day before and earlier: the minutes that come change nothing of it for now.
  readonly #expected = new Map<number, number>();
  #furthest = Number.NEGATIVE_INFINITY;
  // A minute long.
  #run: { readonly now: number; readonly lead: number; readonly end: Pick<Forecast, "untilMs" | "costs"> } | undefined;
  #gaps: { readonly window: GapWindow | undefined } | undefined;
  #for: Pick<ForecastInput, "rules" | "slots" | "canSleep"> | undefined;

  /** Takes minutes of the log, in order. */
  add(minutes: readonly LoadMinute[]): void {
    for (const load of minutes) {
      this.history.add(load);
      this.#noteChange(load.minute - load.quiet);
    }
    this.#gaps = undefined;
  }

  /** Notes a minute in which nobody called, before the log says so. */
  noteQuiet(minute: number): void {
    this.history.noteQuiet(minute);
    this.#noteChange(minute);
  }

  /** What is to be had now, so that it is ready when it is needed; undefined where nothing is foreseen. */
  forecast(input: ForecastInput): Forecast | undefined {
    if (this.#for?.rules !== input.rules || this.#for.slots !== input.slots || this.#for.canSleep !== input.canSleep) {
      this.#noteChange(Number.NEGATIVE_INFINITY);
      this.#gaps = undefined;
    }
    this.#for = input;
    const byGaps = this.#byGaps(input);
    const byRhythm = this.#byRhythm(input);
    return (byGaps?.replicas ?? 0) > (byRhythm?.replicas ?? 0) ? byGaps : (byRhythm ?? byGaps);
  }

  /** Something is known of this minute, and perhaps of later ones, that was not. */
  #noteChange(minute: number): void {
    if (minute + soonestMinutes > this.#furthest && this.#expected.size < keptMinutes) return;
    this.#expected.clear();
    this.#run = undefined;
    this.#furthest = Number.NEGATIVE_INFINITY;
  }

  #lastCallMs({ calledMs = -1 }: ForecastInput): number | undefined {
    const lastMs = Math.max(this.history.lastCallMs ?? -1, calledMs);
    return lastMs < 0 ? undefined : lastMs;
  }

  #leadMs({ startMs }: ForecastInput): number {
    return startMs ?? this.history.startMs ?? unknownStartMs;
  }

  #byGaps(input: ForecastInput): Forecast | undefined {
    const { rules, canSleep, nowMs } = input;
    const lastMs = this.#lastCallMs(input);
    if (!canSleep || lastMs === undefined) return undefined;
    this.#gaps ??= { window: findGapWindow(this.history.gaps, rules.zeroDurationMs) };
    const { window } = this.#gaps;
    if (!window) return undefined;
    const untilMs = lastMs + window.untilMs;
    if (nowMs + this.#leadMs(input) < lastMs + window.fromMs || nowMs > untilMs) return undefined;
    const replicas = Math.max(1, rules.min);
    return { replicas, because: "gaps", untilMs, costs: (replicas * (untilMs - nowMs)) / 1000 };
  }

  #byRhythm(input: ForecastInput): Forecast | undefined {
    const { nowMs } = input;
    const now = Math.floor(nowMs / minuteMs);
    const replicas = this.#mostExpected(now, Math.floor((nowMs + this.#leadMs(input)) / minuteMs));
    if (replicas <= leastOf(input) || this.#isDisappointed(input, now)) return undefined;
    return { replicas, because: "rhythm", ...this.#follow(input, now) };
  }

  /** As long as more than the least is foreseen without a pause: the end of that, and what it takes. */
  #follow(input: ForecastInput, now: number): Pick<Forecast, "untilMs" | "costs"> {
    const lead = Math.ceil(this.#leadMs(input) / minuteMs);
    if (this.#run?.now !== now || this.#run.lead !== lead)
      this.#run = { now, lead, end: this.#findEnd(now, lead, leastOf(input)) };
    return this.#run.end;
  }

  #findEnd(now: number, lead: number, least: number): Pick<Forecast, "untilMs" | "costs"> {
    let minute = now;
    let costs = 0;
    for (; minute - now < furthestMinutes; minute += 1) {
      const more = this.#mostExpected(minute, minute + lead) - least;
      if (more <= 0) break;
      costs += (more * minuteMs) / 1000;
    }
    return { untilMs: minute * minuteMs, costs };
  }

  #mostExpected(first: number, last: number): number {
    let most = 0;
    for (let minute = first; minute <= last; minute += 1) most = Math.max(most, this.#expectedAt(minute));
    return most;
  }

  /** Calls were expected for some time, and none has come. */
  #isDisappointed(input: ForecastInput, now: number): boolean {
    for (let minute = now - patienceMinutes; minute <= now; minute += 1)
      if (this.#expectedAt(minute) === 0) return false;
    return input.nowMs - (this.#lastCallMs(input) ?? 0) > patienceMinutes * minuteMs;
  }

  #expectedAt(minute: number): number {
    const known = this.#expected.get(minute);
    if (known !== undefined || !this.#for) return known ?? 0;
    const expectation = this.#for;
    const needed = (at: number): number | undefined => {
      const seen = this.history.at(at);
      return seen && neededFor(seen, expectation);
    };
    const expected = expectedAt(needed, minute);
    this.#expected.set(minute, expected);
    this.#furthest = Math.max(this.#furthest, minute);
    return expected;
  }
}
