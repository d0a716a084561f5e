import { isFailing } from "../../schemas/function.ts";
import type { ScaleRules } from "../../schemas/scale-labels.ts";
import type { Recommendation } from "./recommend.ts";

/** What a decision rests on. */
export interface DecisionInput {
  readonly rules: ScaleRules;
  /** Whether the function may go to zero when it is idle. */
  readonly canSleep: boolean;
  /** Replicas that are wished for. */
  readonly wished: number;
  /** Replicas that answer. */
  readonly ready: number;
  /** Starts that have failed in a row. */
  readonly failures: number;
  readonly recommendation: Recommendation;
  /** The highest recommendation of the down window; undefined while the function was not followed for that long. */
  readonly highest: number | undefined;
  /** No ready replica is overdue with its sample. */
  readonly isHeard: boolean;
  /** Somebody else has set the count, and the load has asked for the same since. */
  readonly isManual: boolean;
  /** How long nothing was begun, in flight, in line or queued. */
  readonly idleMs: number;
  /** How many replicas are to be had though nobody calls yet; 0: nothing is foreseen. */
  readonly foreseen: number;
}

/** Why a count is as it is. */
export const decisionRules = {
  asleep: "at zero; the next call wakes it",
  idle: "idle for its zero duration",
  static: "least and most replicas are the same",
  alerts: "only alerts and people scale it",
  forecast: "as many as calls are foreseen for",
  steady: "as many as the load asks for",
  up: "the load asks for more",
  bounded: "the load asks for more than may be started ahead of those that are ready",
  starting: "held: more are wanted, and none is ready yet",
  failing: "held: more are wanted, and replicas fail to start",
  silent: "held: fewer would do, but a ready replica has not told its load",
  manual: "held: fewer would do, but somebody has set this count and the load has not changed since",
  window: "held: fewer would do, but not for the whole down window",
  down: "fewer have been enough for the whole down window",
} as const;
export type DecisionRule = keyof typeof decisionRules;

/** How many replicas there shall be, and by which rule. */
export interface Decision {
  readonly replicas: number;
  readonly rule: DecisionRule;
}

// As many as a provider starts at a time: none of these waits for another.
const aheadOfReady = 8;

/** As many as the load asks for, or as are foreseen: the higher counts. */
const wantedOf = ({ recommendation, foreseen }: DecisionInput): number => Math.max(recommendation.replicas, foreseen);

// One that does not come up is not helped by more of its kind: the first ready one shows that they do.
const raise = (input: DecisionInput): Decision => {
  const { wished, ready, failures, recommendation } = input;
  if (isFailing(failures, ready)) return { replicas: wished, rule: "failing" };
  if (ready === 0) return { replicas: wished, rule: "starting" };
  const bound = ready + Math.max(aheadOfReady, ready);
  const wanted = wantedOf(input);
  if (wanted <= bound) return { replicas: wanted, rule: wanted > recommendation.replicas ? "forecast" : "up" };
  return { replicas: Math.max(wished, bound), rule: "bounded" };
};

// What was foreseen is over when it is over: only what the load has asked for is kept for the whole window.
const lower = (input: DecisionInput): Decision => {
  const { wished, highest, isHeard, isManual } = input;
  if (!isHeard) return { replicas: wished, rule: "silent" };
  if (isManual) return { replicas: wished, rule: "manual" };
  if (highest === undefined || highest >= wished) return { replicas: wished, rule: "window" };
  return { replicas: Math.max(highest, wantedOf(input)), rule: "down" };
};

// A call wakes it to its least, which the provider does; before calls come, what they are foreseen to need.
const asleep = ({ canSleep, failures, foreseen }: DecisionInput): Decision =>
  canSleep && failures === 0 && foreseen > 0
    ? { replicas: Math.min(foreseen, aheadOfReady), rule: "forecast" }
    : { replicas: 0, rule: "asleep" };

const isOver = ({ rules, canSleep, isHeard, idleMs, foreseen }: DecisionInput): boolean =>
  canSleep && isHeard && idleMs >= rules.zeroDurationMs && foreseen === 0;

/**
 * How many replicas a function shall have. More are wished for at once, as far as replicas come up; fewer when they were
 * enough for the whole down window and every replica has told its load; none when the function is idle and may sleep.
 * From zero a call wakes it, which is not decided here, or a forecast.
 */
export const decide = (input: DecisionInput): Decision => {
  const { rules, wished, recommendation } = input;
  if (wished === 0) return asleep(input);
  if (isOver(input)) return { replicas: 0, rule: "idle" };
  if (rules.min === rules.max) return { replicas: wished, rule: "static" };
  if (rules.types.length === 0) return { replicas: wished, rule: "alerts" };
  const wanted = wantedOf(input);
  if (wanted > wished) return raise(input);
  if (wanted < wished) return lower(input);
  return { replicas: wished, rule: wanted > recommendation.replicas ? "forecast" : "steady" };
};
