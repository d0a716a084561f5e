import { keepsAtZero } from "../../schemas/annotations.ts";
import { type FunctionRecord, functionSlots, type FunctionStatusRecord } from "../../schemas/function.ts";
import type { ScaleRules } from "../../schemas/scale-labels.ts";
import type { LoadMinute } from "../../schemas/load.ts";
import { type BoundRules, boundRules } from "./bound-rules.ts";
import { type Decision, decide } from "./decide.ts";
import type { CallerSample, ReplicaSample } from "../../schemas/sample.ts";
import { FunctionLoad, startedRate } from "./function-load.ts";
import { type Forecast, Forecaster, type ForecastInput } from "./forecast/forecaster.ts";
import { MinuteTally } from "./minute-tally.ts";
import type { SampleNews } from "./read-sample.ts";
import { type Load, type Recommendation, recommend } from "./recommend.ts";
import { StartTimes } from "./start-times.ts";
import { HighestWindow } from "./windows.ts";

/** What is known of one function when it is decided on, and what was decided. */
export interface Assessment extends Decision {
  readonly rules: BoundRules;
  readonly wished: number;
  readonly ready: number;
  readonly failures: number;
  readonly slots: number;
  readonly load: Load;
  readonly recommendation: Recommendation;
  /** The highest recommendation of the down window, once it is full. */
  readonly highest: number | undefined;
  readonly idleMs: number;
  readonly canSleep: boolean;
  readonly forecast: Forecast | undefined;
  /** A minute that has ended by this, for the log. */
  readonly ended: LoadMinute | undefined;
}

// The windows of load must be full before anybody is let go by what they hold: the next sample of an idle replica comes
// within ten seconds, and CPU is averaged over thirty.
const leastEvidenceMs = ({ types }: ScaleRules): number => (types.includes("cpu") ? 32_000 : 12_000);

/** Follows one function: its wish, its replicas and its load. Times are of the reader's own steady clock, but for times of day. */
export class Follower {
  readonly #sinceMs: number;
  readonly #load: FunctionLoad;
  readonly #highest = new HighestWindow();
  readonly #minutes = new MinuteTally();
  readonly #starts = new StartTimes();
  /** Where replicas are to be started ahead. */
  #forecaster: Forecaster | undefined;
  #record: FunctionRecord;
  #cores: number | undefined;
  #rules: BoundRules;
  /** Ready replicas, and when each was first seen so. */
  readonly #ready = new Map<string, number>();
  #isStarting = false;
  #failures = 0;
  /** Somebody else has set the count: what the load asked for then, once that is known. */
  #manual: { recommended: number | undefined } | undefined;

  constructor(record: FunctionRecord, nowMs: number) {
    this.#sinceMs = nowMs;
    this.#load = new FunctionLoad(nowMs);
    this.#record = record;
    this.#rules = boundRules(record.spec, undefined);
    this.#noteAuthor(record);
  }

  get record(): FunctionRecord {
    return this.#record;
  }

  takeRecord(record: FunctionRecord, nowMs: number): void {
    const before = this.#record;
    this.#record = record;
    if (before.revision !== record.revision) this.#rules = boundRules(record.spec, this.#cores);
    const isScaled = before.replicas !== record.replicas || before.scaledBecause !== record.scaledBecause;
    if (isScaled) this.#noteAuthor(record);
    // Who deploys or scales is about to use it.
    if (before.revision !== record.revision || (isScaled && record.scaledBecause === undefined))
      this.#load.activeMs = nowMs;
  }

  /**
   * Takes for how long the function was idle before it was followed. What runs in it now tells so first: it is not taken for
   * idle before that was heard.
   */
  recallIdle(idleMs: number, nowMs: number): void {
    const longestMs = this.#rules.zeroDurationMs - leastEvidenceMs(this.#rules);
    this.#load.activeMs = nowMs - Math.max(0, Math.min(idleMs, longestMs));
  }

  /** Takes what the provider observes. True when a replica is ready that was not. */
  takeStatus({ replicas, cores, problem }: FunctionStatusRecord, nowMs: number): boolean {
    if (cores !== this.#cores) this.#rules = boundRules(this.#record.spec, cores);
    this.#cores = cores;
    this.#failures = problem?.failures ?? 0;
    this.#isStarting = replicas.some(({ state }) => state === "starting");
    this.#starts.take(replicas);
    const ready = new Set(replicas.filter(({ state }) => state === "ready").map(({ id }) => id));
    for (const id of this.#ready.keys()) if (!ready.has(id)) this.#ready.delete(id);
    let isMore = false;
    for (const id of ready)
      if (!this.#ready.has(id)) {
        this.#ready.set(id, nowMs);
        isMore = true;
      }
    return isMore;
  }

  /** Takes a sample. True when it shows that more may be needed now: calls have to wait, or there are too many for who is there. */
  takeSample(news: SampleNews, nowMs: number): boolean {
    switch (news.kind) {
      case "replica":
        this.#load.takeReplica(news.source, news.sample, nowMs);
        return this.#isTooMany(news.sample, 1);
      case "caller":
        this.#load.takeCaller(news.source, news.sample, nowMs);
        return news.sample.waiting > 0 || this.#isTooMany(news.sample, this.#record.replicas);
      case "queue":
        this.#load.takeQueue(news.source, news.sample, nowMs);
        return false;
    }
  }

  /** Takes minutes of the log of its load, in order. */
  takeLog(minutes: readonly LoadMinute[]): void {
    if (this.#rules.forecast) (this.#forecaster ??= new Forecaster()).add(minutes);
  }

  /** Decides by what is known now; `wallMs` is the time of day, milliseconds since the epoch. */
  assess(nowMs: number, wallMs: number): Assessment {
    const { spec, replicas: wished } = this.#record;
    const rules = this.#rules;
    const ready = this.#ready.size;
    const slots = functionSlots(spec);
    const load = this.#load.read(this.#ready, nowMs);
    const isHeard = this.#load.isHeard(this.#ready, nowMs);
    // Who has to start first is not idle, unless its starts fail: a deploy waits for it, or a call.
    if (this.#isStarting && this.#failures === 0) this.#load.activeMs = nowMs;
    const recommendation = recommend({ rules, slots, ready, load });
    const isManual = this.#isManual(recommendation.replicas, nowMs - this.#sinceMs >= leastEvidenceMs(rules));
    // What was not heard or was lost may have been load: a count is not lowered by that, nor soon after it.
    const mayLower = isHeard && !this.#load.hasLost && !isManual;
    this.#load.hasLost = false;
    const atLeast = mayLower ? recommendation.replicas : Math.max(recommendation.replicas, wished);
    this.#highest.push(nowMs, atLeast, rules.downWindowMs);
    const ended = this.#tally(load, wallMs);
    const highest = this.#highest.highest(nowMs, rules.downWindowMs, leastEvidenceMs(rules));
    const canSleep = rules.zero && !keepsAtZero(spec);
    const idleMs = nowMs - this.#load.activeMs;
    const forecast = this.#forecast({ slots, canSleep, nowMs: wallMs });
    const known = { rules, wished, ready, failures: this.#failures, recommendation, highest, idleMs, canSleep };
    const decision = decide({ ...known, isHeard, isManual, foreseen: forecast?.replicas ?? 0 });
    return { ...known, slots, load, forecast, ended, ...decision };
  }

  #forecast(given: Pick<ForecastInput, "slots" | "canSleep" | "nowMs">): Forecast | undefined {
    const rules = this.#rules;
    if (!rules.forecast) return undefined;
    const { calledMs } = this.#minutes;
    return this.#forecaster?.forecast({ ...given, rules, calledMs, startMs: this.#starts.longestMs });
  }

  /** Sums up the load; gives the minute that has ended, where the log is to have it. */
  #tally({ inFlight, parked }: Load, wallMs: number): LoadMinute | undefined {
    const ended = this.#minutes.see(wallMs, { ...this.#load.counted }, inFlight + parked);
    if (!ended) return undefined;
    if (!ended.load) this.#forecaster?.noteQuiet(ended.minute);
    const startMs = this.#starts.longestMs;
    return ended.load && (startMs === undefined ? ended.load : { ...ended.load, startMs });
  }

  /** More calls than so many replicas are to have, and there may be more replicas. */
  #isTooMany(sample: ReplicaSample | CallerSample, replicas: number): boolean {
    const { types, target, proportion, max, mostByRate = max } = this.#rules;
    const { replicas: wished } = this.#record;
    if (wished >= max) return false;
    const most = target * proportion * replicas;
    return (
      (types.includes("rps") && wished < mostByRate && startedRate(sample) > most) ||
      (types.includes("capacity") && sample.inFlight > most)
    );
  }

  /** A count that somebody else has set holds until the load asks for another than it did then. */
  #isManual(recommended: number, isKnown: boolean): boolean {
    if (!this.#manual) return false;
    if (isKnown) this.#manual.recommended ??= recommended;
    if (this.#manual.recommended !== undefined && this.#manual.recommended !== recommended) this.#manual = undefined;
    return this.#manual !== undefined;
  }

  #noteAuthor({ scaledBecause }: FunctionRecord): void {
    this.#manual = scaledBecause === undefined ? { recommended: undefined } : undefined;
  }
}
