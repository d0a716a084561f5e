import type { CallerSample, ReplicaSample } from "../../../schemas/sample.ts";
import type { SampleNews } from "../read-sample.ts";
import type { Served } from "./calls.ts";

/** What the sources of a simulated function would tell of a step. */
export interface Step {
  readonly nowMs: number;
  readonly seconds: number;
  readonly ready: readonly string[];
  readonly served: Served;
  readonly inLine: number;
  readonly oldestWaitMs: number;
}

const name = { namespace: "backtest", name: "backtest" };
const start = "backtest";
// As replicas do that have nothing to tell.
const idleEveryMs = 10_000;

/** Tells samples as replicas and callers do: the first replica has all the calls, because only their sum matters. */
export class SimulatedSamples {
  #n = 0;
  readonly #saidMs = new Map<string, number>();
  #wasBusy = false;

  of(step: Step): readonly SampleNews[] {
    const { nowMs, ready, served, inLine } = step;
    const isBusy = served.started > 0 || served.inFlight > 0 || inLine > 0;
    const told: SampleNews[] = [];
    for (const [at, id] of ready.entries()) {
      const isDue = nowMs - (this.#saidMs.get(id) ?? Number.NEGATIVE_INFINITY) >= idleEveryMs;
      if (!isDue && !(at === 0 && (isBusy || this.#wasBusy))) continue;
      this.#saidMs.set(id, nowMs);
      told.push({ kind: "replica", function: name, source: id, sample: this.#replica(step, at === 0) });
    }
    if (isBusy || this.#wasBusy)
      told.push({ kind: "caller", function: name, source: "gateway", sample: this.#caller(step) });
    this.#wasBusy = isBusy;
    return told;
  }

  // Numbers may not be left out by a source; each is a run of its own that has said one thing.
  #head(seconds: number) {
    return { start: `${start}-${(this.#n += 1)}`, n: 1, seconds };
  }

  #replica({ seconds, served }: Step, hasCalls: boolean): ReplicaSample {
    const { started, meanMs, inFlight } = hasCalls ? served : { started: 0, meanMs: 0, inFlight: 0 };
    return {
      ...this.#head(seconds),
      started,
      finished: {},
      durations: { counts: [started], sum: (started * meanMs) / 1000 },
      waits: { counts: [], sum: 0 },
      inFlight,
      slots: 0,
      cpuSeconds: 0,
      memoryBytes: 0,
    };
  }

  #caller({ seconds, served, inLine, oldestWaitMs }: Step): CallerSample {
    const { started, inFlight } = served;
    return { ...this.#head(seconds), waiting: inLine, oldestWaitMs, inFlight, started, answered: {} };
  }
}
