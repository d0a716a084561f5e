import type { ScaleDecision } from "../../schemas/scaler.ts";
import { decisionRules } from "./decide.ts";
import type { Assessment } from "./follower.ts";

const round = (value: number): number => Math.round(value * 100) / 100;

const forecastNumbers = ({ forecast }: Assessment, at: Date): Readonly<Record<string, number>> =>
  forecast
    ? {
        [`replicas foreseen by its ${forecast.because}`]: forecast.replicas,
        "foreseen for, s": round((forecast.untilMs - at.getTime()) / 1000),
        "costs at most if nobody calls, replica-seconds": round(forecast.costs),
      }
    : {};

const needNumbers = ({ needs }: Assessment["recommendation"]): Readonly<Record<string, number>> =>
  Object.fromEntries(Object.entries(needs).map(([type, need]) => [`replicas for ${type}`, need]));

const loadNumbers = ({ load }: Assessment): Readonly<Record<string, number>> => ({
  "calls begun per second": round(load.rps),
  "calls in flight": load.inFlight,
  "calls in line": load.parked,
  "oldest wait, ms": round(load.oldestWaitMs),
  "most calls of the last 10 s": load.peakCalls,
  "CPU, thousandths of a core": round(load.cpuMillicores),
  "durable calls queued": load.queued,
  ...(load.callMs === undefined ? {} : { "mean duration of a call, ms": round(load.callMs) }),
});

/** The numbers that a decision rests on, by name. */
const numbersOf = (assessment: Assessment, at: Date): Readonly<Record<string, number>> => {
  const { rules, slots, ready, failures, recommendation, highest, idleMs, canSleep } = assessment;
  return {
    ...loadNumbers(assessment),
    "replicas ready": ready,
    ...(failures > 0 ? { "failed starts in a row": failures } : {}),
    ...forecastNumbers(assessment, at),
    ...needNumbers(recommendation),
    "replicas recommended": recommendation.replicas,
    ...(highest === undefined ? {} : { "most recommended in the down window": highest }),
    "down window, s": rules.downWindowMs / 1000,
    "least replicas": rules.min,
    "most replicas": rules.max,
    ...(rules.mostByRate === undefined ? {} : { "most replicas for rps, by cores": rules.mostByRate }),
    target: rules.target,
    "target proportion": rules.proportion,
    ...(slots > 0 ? { "calls a replica takes at a time": slots } : {}),
    ...(canSleep ? { "idle, s": round(idleMs / 1000), "idle until zero, s": rules.zeroDurationMs / 1000 } : {}),
  };
};

const sentenceOf = ({ rule, recommendation, forecast }: Assessment): string =>
  rule === "forecast" && forecast
    ? `${decisionRules[rule]} (${forecast.because})`
    : rule === "up" || rule === "steady" || rule === "bounded"
      ? `${decisionRules[rule]} (${recommendation.reason === "cores" ? "rps, as far as the cores go" : recommendation.reason})`
      : decisionRules[rule];

/** Why there is a wish for a count, in few words. */
export const reasonOf = (assessment: Assessment): string => `${assessment.rule}: ${sentenceOf(assessment)}`;

/** A decision with all that it rests on, as it is told to whoever asks. */
export const toDecision = (assessment: Assessment, at: Date): ScaleDecision => ({
  at: at.toISOString(),
  from: assessment.wished,
  replicas: assessment.replicas,
  rule: assessment.rule,
  because: sentenceOf(assessment),
  numbers: numbersOf(assessment, at),
});
