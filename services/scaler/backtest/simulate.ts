import type { FunctionRecord, FunctionSpec } from "../../../schemas/function.ts";
import { functionSlots } from "../../../schemas/function.ts";
import type { LoadMinute } from "../../../schemas/load.ts";
import { leastAwake, readScaleRules } from "../../../schemas/scale-labels.ts";
import type { SimulatedResult } from "../../../schemas/backtest.ts";
import { type Assessment, Follower } from "../follower.ts";
import { arrivalsIn } from "./arrivals.ts";
import { SimulatedCalls } from "./calls.ts";
import { SimulatedReplicas } from "./replicas.ts";
import { SimulatedSamples } from "./simulated-samples.ts";

/** A recorded log, and the function that it is run against. */
export interface SimulationInput {
  readonly spec: FunctionSpec;
  /** In order; what is before `fromMs` is only learnt from. */
  readonly minutes: readonly LoadMinute[];
  /** Milliseconds since the epoch, whole seconds. */
  readonly fromMs: number;
  readonly untilMs: number;
  readonly startMs: number;
}

const secondMs = 1000;
const minuteMs = 60_000;
// Windows hold nothing any more after this, whatever is set.
const settledMs = 6 * minuteMs;
// A forecast begins and ends within minutes, too.
const longestStepMs = 10_000;
const restful: ReadonlySet<string> = new Set(["asleep", "steady", "static", "forecast"]);

/** Runs a log second by second against the scaler's own follower, and a simulated function that does as it decides. */
class Simulation {
  readonly #input: SimulationInput;
  readonly #follower: Follower;
  readonly #calls = new SimulatedCalls();
  readonly #replicas: SimulatedReplicas;
  readonly #samples = new SimulatedSamples();
  readonly #slots: number;
  readonly #result = { calls: 0, coldStarts: 0, waited: 0, waitedMs: 0, replicaSeconds: 0 };
  #record: FunctionRecord;
  #next = 0;
  #told = 0;
  #ready = -1;
  #isMissing = false;
  #busyMs: number;

  constructor(input: SimulationInput) {
    this.#input = input;
    const { spec, fromMs, startMs } = input;
    const at = new Date(fromMs).toISOString();
    const replicas = leastAwake(spec);
    this.#record = { spec, replicas, scaledBecause: "backtest", revision: "backtest", createdAt: at, updatedAt: at };
    this.#follower = new Follower(this.#record, fromMs);
    this.#slots = functionSlots(spec);
    this.#replicas = new SimulatedReplicas(startMs);
    this.#replicas.set(replicas, fromMs - startMs);
    this.#busyMs = fromMs;
    // What is there is learnt from at once; the rest as its minutes end.
    while (this.#nextEndMs() <= fromMs) this.#next += 1;
    this.#tell(fromMs);
  }

  run(): SimulatedResult {
    const { fromMs, untilMs } = this.#input;
    let stepMs = secondMs;
    for (let nowMs = fromMs; nowMs < untilMs; nowMs += stepMs) {
      const assessment = this.#step(nowMs, stepMs);
      stepMs = Math.min(this.#pauseMs(nowMs, assessment), untilMs - nowMs);
      this.#result.replicaSeconds += (this.#replicas.count * stepMs) / 1000;
    }
    return this.#result;
  }

  #step(nowMs: number, stepMs: number): Assessment {
    this.#tell(nowMs);
    this.#arrive(nowMs);
    if (this.#calls.inLine > 0 && this.#record.replicas === 0)
      this.#wish(leastAwake(this.#input.spec), undefined, nowMs);
    this.#observe(nowMs);
    this.#serve(nowMs, stepMs / 1000);
    const assessment = this.#follower.assess(nowMs, nowMs);
    if (assessment.replicas !== this.#record.replicas) this.#wish(assessment.replicas, assessment.rule, nowMs);
    return assessment;
  }

  #nextEndMs(): number {
    const minute = this.#input.minutes[this.#next]?.minute;
    return minute === undefined ? Number.POSITIVE_INFINITY : (minute + 1) * minuteMs;
  }

  /** Tells the follower the minutes of the log that are over. */
  #tell(nowMs: number): void {
    const { minutes } = this.#input;
    let over = this.#told;
    while (((minutes[over]?.minute ?? Number.POSITIVE_INFINITY) + 1) * minuteMs <= nowMs) over += 1;
    if (over > this.#told) this.#follower.takeLog(minutes.slice(this.#told, over));
    this.#told = over;
  }

  #arrive(nowMs: number): void {
    while (this.#nextEndMs() <= nowMs) this.#next += 1;
    const load = this.#input.minutes[this.#next];
    if (!load || load.minute * minuteMs > nowMs) return;
    const arrivals = arrivalsIn(load, Math.floor((nowMs % minuteMs) / secondMs));
    this.#calls.arrive(arrivals, nowMs);
    this.#result.calls += arrivals.calls;
    const isMissing = this.#calls.inLine > 0 && this.#replicas.ready(nowMs) === 0;
    if (isMissing && !this.#isMissing) this.#result.coldStarts += 1;
    this.#isMissing = isMissing;
  }

  #serve(nowMs: number, seconds: number): void {
    const ready = this.#replicas.readyIds(nowMs);
    const { firstReadyMs } = this.#replicas;
    const isNew = firstReadyMs > nowMs - secondMs && firstReadyMs <= nowMs;
    const slots = this.#slots === 0 && ready.length > 0 ? Number.POSITIVE_INFINITY : ready.length * this.#slots;
    const served = this.#calls.serve(slots, nowMs, isNew ? firstReadyMs : nowMs);
    const { inLine } = this.#calls;
    this.#result.waited += served.waited;
    this.#result.waitedMs += served.waitedMs;
    if (served.started > 0 || served.inFlight > 0 || inLine > 0) this.#busyMs = nowMs;
    const step = { nowMs, seconds, ready, served, inLine, oldestWaitMs: this.#calls.oldestWaitMs(nowMs) };
    for (const news of this.#samples.of(step)) this.#follower.takeSample(news, nowMs);
  }

  #observe(nowMs: number): void {
    const ready = this.#replicas.ready(nowMs);
    // While some start there is something new each time.
    if (ready === this.#ready && ready === this.#replicas.count) return;
    this.#ready = ready;
    this.#follower.takeStatus(this.#replicas.status(nowMs), nowMs);
  }

  #wish(replicas: number, because: string | undefined, nowMs: number): void {
    const { scaledBecause: _before, ...rest } = this.#record;
    this.#record = { ...rest, replicas, ...(because === undefined ? {} : { scaledBecause: because }) };
    this.#replicas.set(replicas, nowMs);
    this.#follower.takeRecord(this.#record, nowMs);
    this.#observe(nowMs);
  }

  /** A second while something happens; more where nothing can until then. */
  #pauseMs(nowMs: number, { rule, replicas, canSleep, rules, idleMs }: Assessment): number {
    const isAtRest = this.#calls.inLine === 0 && nowMs - this.#busyMs > settledMs && restful.has(rule);
    if (!isAtRest || this.#replicas.ready(nowMs) !== replicas) return secondMs;
    const load = this.#input.minutes[this.#next];
    const nextCallMs = load ? load.minute * minuteMs + load.first * secondMs - nowMs : Number.POSITIVE_INFINITY;
    const sleepMs = canSleep && replicas > 0 ? rules.zeroDurationMs - idleMs : Number.POSITIVE_INFINITY;
    const mostMs = rules.forecast ? longestStepMs : minuteMs;
    return Math.max(secondMs, Math.floor(Math.min(nextCallMs, sleepMs, mostMs) / secondMs) * secondMs);
  }
}

/**
 * What a function's labels would have made of the load in a log. The decisions are the scaler's own, made by the same code;
 * replicas and calls are simulated, a second at a time. Load on CPU and in queues is not in the log, and counts as none.
 */
export const simulate = (input: SimulationInput): SimulatedResult => new Simulation(input).run();

/** What of a function's labels a simulation cannot follow: a sentence each. */
export const simulationGaps = ({ labels = {} }: Pick<FunctionSpec, "labels">): readonly string[] =>
  readScaleRules({ labels })
    .types.filter((type) => type === "cpu" || type === "queue")
    .map((type) => `load of type ${type} is not in the log and counts as none`);
