import type { LoadMinute } from "../../schemas/load.ts";

/** What was counted of a function since it is followed. */
export interface Counted {
  readonly started: number;
  readonly ended: number;
  /** What the calls that ended took, together. */
  readonly endedMs: number;
}

/** A minute that is over; without a load where nobody called and nothing is due. */
export interface EndedMinute {
  readonly minute: number;
  readonly load?: LoadMinute;
}

const minuteMs = 60_000;
// A function that nobody calls is told of as often as this: how long it was watched is lost with its scaler otherwise.
const markEvery = 6 * 60;

interface OpenMinute {
  readonly minute: number;
  /** It was watched from its beginning. */
  readonly isWhole: boolean;
  started: number;
  ended: number;
  endedMs: number;
  peak: number;
  first: number | undefined;
  last: number;
}

const openMinute = (minute: number, isWhole: boolean): OpenMinute => ({
  minute,
  isWhole,
  started: 0,
  ended: 0,
  endedMs: 0,
  peak: 0,
  first: undefined,
  last: 0,
});

const toLoad = ({ minute, started, ended, endedMs, peak, first, last }: OpenMinute, quiet: number): LoadMinute => ({
  minute,
  quiet,
  started,
  peak: Math.max(peak, Math.min(1, started)),
  meanMs: ended > 0 ? Math.round((endedMs / ended) * 1000) / 1000 : 0,
  first: first ?? 0,
  last,
});

/** Sums up the load of one function, minute by minute. */
export class MinuteTally {
  #open: OpenMinute | undefined;
  #before: Counted = { started: 0, ended: 0, endedMs: 0 };
  #quiet = 0;
  /** When a call was last seen to begin, milliseconds since the epoch. */
  calledMs: number | undefined;

  /** Takes the counts and how many calls there are now, at a time of day; gives the minute that has ended by that. */
  see(wallMs: number, counted: Counted, calls: number): EndedMinute | undefined {
    const minute = Math.floor(wallMs / minuteMs);
    const open = this.#open;
    // A clock that is set back stands until it is where it was.
    const isNext = !open || minute > open.minute;
    const ended = open && isNext ? this.#end(open) : undefined;
    if (isNext) this.#begin(minute, open);
    this.#count(wallMs, counted, calls);
    return ended;
  }

  #begin(minute: number, before: OpenMinute | undefined): void {
    const isNext = before?.minute === minute - 1;
    if (!isNext) this.#quiet = 0;
    this.#open = openMinute(minute, isNext);
  }

  #count(wallMs: number, counted: Counted, calls: number): void {
    const open = this.#open;
    const before = this.#before;
    this.#before = counted;
    if (!open) return;
    const started = counted.started - before.started;
    open.started += started;
    open.ended += counted.ended - before.ended;
    open.endedMs += counted.endedMs - before.endedMs;
    open.peak = Math.max(open.peak, calls);
    if (started === 0) return;
    this.calledMs = wallMs;
    open.last = Math.min(59, Math.max(0, Math.floor(wallMs / 1000) - open.minute * 60));
    open.first ??= open.last;
  }

  #end(open: OpenMinute): EndedMinute | undefined {
    const { minute, isWhole } = open;
    const isQuiet = open.started === 0 && open.peak === 0;
    const quiet = this.#quiet;
    // What came before somebody watched is not known.
    if (isQuiet && !isWhole) return undefined;
    this.#quiet = isQuiet ? quiet + 1 : 0;
    if (isQuiet && minute % markEvery !== markEvery - 1) return { minute };
    this.#quiet = 0;
    return { minute, load: toLoad(open, quiet) };
  }
}
