import { countOf } from "../../schemas/histogram.ts";
import type { CallerSample, QueueSample, ReplicaSample, SampleHead } from "../../schemas/sample.ts";
import type { Load } from "./recommend.ts";
import { PeakWindow, RateWindow } from "./windows.ts";

/** The newest sample of one source. */
interface Heard<T> {
  readonly atMs: number;
  readonly sample: T;
  /** The run of the source before this one: what comes of it now is late. */
  readonly former: string | undefined;
}

// Sources that have something to tell do so each second; twice that and a half, and something is amiss.
const freshMs = 2500;
// One with calls in it tells so every second, one with nothing to do every ten seconds; twice that may be a pause.
const silentBusyMs = 3500;
const silentIdleMs = 25_000;
// The last word of a queue-worker that is gone counts for so long: time enough for another to tell of the queue.
const queueFreshMs = 60_000;
const leastRateSeconds = 0.8;
// Averages hide a step for seconds; one by half again is no chance. It is measured by what was before it: an average that holds a
// part of the step would hide the rest of it.
const stepFactor = 1.5;
const stepSeconds = 3;
// Where this much of what replicas begin is what callers tell of, callers know best how many calls there are at a time.
const knownShare = 0.9;
// What no replica says for this long is forgotten, if it is not a ready one.
const forgetMs = 60_000;

/** Calls begun a second, as one sample has them. */
export const startedRate = ({ started, seconds }: Pick<ReplicaSample, "started" | "seconds">): number =>
  started / Math.max(seconds, 0.5);

/** The load of one function, as its replicas, callers and queue tell it. Times are of the reader's own steady clock. */
export class FunctionLoad {
  readonly #replicas = new Map<string, Heard<ReplicaSample>>();
  readonly #callers = new Map<string, Heard<CallerSample>>();
  readonly #queues = new Map<string, { readonly atMs: number; readonly due: number }>();
  readonly #started = new RateWindow(10);
  /** Of those, what callers say of theirs. */
  readonly #called = new RateWindow(10);
  readonly #cpu = new RateWindow(30);
  readonly #ended = new RateWindow(30);
  readonly #durations = new RateWindow(30);
  readonly #calls = new PeakWindow(10);
  /** When something was last begun, in flight, in line or queued. */
  activeMs: number;
  /** What replicas have counted since this was made; calls count as long as their replicas tell of them. */
  readonly counted = { started: 0, ended: 0, endedMs: 0 };
  /** Samples were lost since this was last set to false. */
  hasLost = false;

  constructor(nowMs: number) {
    this.activeMs = nowMs;
  }

  takeReplica(id: string, sample: ReplicaSample, nowMs: number): void {
    if (!this.#hear(this.#replicas, id, sample, nowMs)) return;
    this.#started.add(nowMs, sample.started, sample.seconds);
    this.#cpu.add(nowMs, sample.cpuSeconds * 1000, sample.seconds);
    const ended = countOf(sample.durations);
    const endedMs = sample.durations.sum * 1000;
    this.#ended.add(nowMs, ended, sample.seconds);
    this.#durations.add(nowMs, endedMs, sample.seconds);
    this.counted.started += sample.started;
    this.counted.ended += ended;
    this.counted.endedMs += endedMs;
    if (sample.inFlight > 0 || sample.started > 0) this.activeMs = nowMs;
  }

  takeCaller(id: string, sample: CallerSample, nowMs: number): void {
    if (!this.#hear(this.#callers, id, sample, nowMs)) return;
    this.#called.add(nowMs, sample.started, sample.seconds);
    if (sample.waiting > 0 || sample.inFlight > 0 || sample.started > 0) this.activeMs = nowMs;
  }

  takeQueue(id: string, { depth, due = depth }: QueueSample, nowMs: number): void {
    this.#queues.set(id, { atMs: nowMs, due });
    if (due > 0) this.activeMs = nowMs;
  }

  /** Notes that a replica is gone, with what it had. */
  forget(id: string): void {
    this.#replicas.delete(id);
  }

  /** Whether each of these replicas has told its load lately; `sinceMs` is when each was first seen ready. */
  isHeard(ready: ReadonlyMap<string, number>, nowMs: number): boolean {
    for (const [id, sinceMs] of ready) {
      const heard = this.#replicas.get(id);
      const limitMs = heard && heard.sample.inFlight > 0 ? silentBusyMs : silentIdleMs;
      if (nowMs - Math.max(sinceMs, heard?.atMs ?? 0) > limitMs) return false;
    }
    return true;
  }

  /** The load now. Of a replica that is silent its last word counts; of one that is not ready, only what it has begun. */
  read(ready: ReadonlyMap<string, number>, nowMs: number): Load {
    const { parked, oldestWaitMs, calling, called } = this.#readCallers(nowMs);
    const { held, long, begun } = this.#readReplicas(ready, nowMs);
    // Each tells at a moment of its own: who tells first of a step is right.
    const latest = Math.max(called, begun);
    const average = this.#started.rate(nowMs);
    const areCallersKnown = this.#called.rate(nowMs) >= average * knownShare;
    const inFlight = Math.max(calling, areCallersKnown ? long : held);
    const queued = this.#readQueues(nowMs);
    this.#calls.see(nowMs, inFlight + parked);
    if (inFlight + parked + queued > 0) this.activeMs = nowMs;
    const ended = this.#ended.rate(nowMs);
    return {
      rps: latest > this.#started.rate(nowMs, stepSeconds) * stepFactor ? Math.max(latest, average) : average,
      peakCalls: this.#calls.peak(nowMs),
      cpuMillicores: this.#cpu.rate(nowMs),
      queued,
      inFlight,
      areCallersKnown,
      parked,
      oldestWaitMs,
      callMs: ended > 0 ? this.#durations.rate(nowMs) / ended : undefined,
    };
  }

  /**
   * What replicas hold, each at the moment of its last word: a short call may be met in one after the other, so that the sum
   * can be twice what there is. Those that are `long` were there all the time since the word before, and are certain; of one that is silent all are taken for such.
   */
  #readReplicas(
    ready: ReadonlyMap<string, number>,
    nowMs: number,
  ): { readonly held: number; readonly long: number; readonly begun: number } {
    let held = 0;
    let long = 0;
    let begun = 0;
    for (const [id, { sample, atMs }] of this.#replicas) {
      const isFresh = nowMs - atMs < freshMs;
      if (ready.has(id)) {
        held += sample.inFlight;
        long += isFresh ? Math.max(0, sample.inFlight - sample.started) : sample.inFlight;
      } else if (nowMs - atMs > forgetMs) this.#replicas.delete(id);
      if (isFresh) begun += startedRate(sample);
    }
    return { held, long, begun };
  }

  #readCallers(nowMs: number): {
    readonly parked: number;
    readonly oldestWaitMs: number;
    readonly calling: number;
    readonly called: number;
  } {
    let parked = 0;
    let calling = 0;
    let called = 0;
    let oldestWaitMs = 0;
    for (const [id, { sample, atMs }] of this.#callers)
      if (nowMs - atMs < freshMs) {
        parked += sample.waiting;
        calling += sample.inFlight;
        // One that comes early, because calls wait, covers too little time to tell a rate.
        if (sample.seconds >= leastRateSeconds) called += startedRate(sample);
        oldestWaitMs = Math.max(oldestWaitMs, sample.oldestWaitMs);
      } else if (nowMs - atMs > forgetMs) this.#callers.delete(id);
    return { parked, oldestWaitMs, calling, called };
  }

  /** All tell of the same queue; what one has in hand another takes for put off, so that the highest is right. */
  #readQueues(nowMs: number): number {
    let queued = 0;
    for (const [id, { due, atMs }] of this.#queues)
      if (nowMs - atMs < queueFreshMs) queued = Math.max(queued, due);
      else this.#queues.delete(id);
    return queued;
  }

  /** Keeps the newest sample of a source. False for one that is not new; a number left out is noted. */
  #hear<T extends SampleHead>(from: Map<string, Heard<T>>, id: string, sample: T, atMs: number): boolean {
    const before = from.get(id);
    const { start, n } = sample;
    if (before?.sample.start === start) {
      if (n <= before.sample.n) return false;
      if (n > before.sample.n + 1) this.hasLost = true;
      from.set(id, { atMs, sample, former: before.former });
    } else {
      if (before && before.former === start) return false;
      from.set(id, { atMs, sample, former: before?.sample.start });
    }
    return true;
  }
}
