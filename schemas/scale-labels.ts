import { type FunctionSpec, maxReplicas, parseDurationMs } from "./function.ts";

/** The labels by which a function says how it is scaled (OpenFaaS contract §5.2), and our own. */
export const scaleLabels = {
  min: "com.openfaas.scale.min",
  max: "com.openfaas.scale.max",
  target: "com.openfaas.scale.target",
  proportion: "com.openfaas.scale.target-proportion",
  types: "com.openfaas.scale.type",
  zero: "com.openfaas.scale.zero",
  zeroDuration: "com.openfaas.scale.zero-duration",
  downWindow: "com.openfaas.scale.down.window",
  factor: "com.openfaas.scale.factor",
  forecast: "com.busker.scale.forecast",
} as const;

/** What a replica's load is counted in: calls begun a second, calls at a time, thousandths of a core, calls queued. */
export const loadTypes = ["rps", "capacity", "cpu", "queue"] as const;
export type LoadType = (typeof loadTypes)[number];

/** How one function is scaled. */
export interface ScaleRules {
  readonly min: number;
  readonly max: number;
  /** Where there are several, the one that asks for most counts; where there is none, only alerts and people scale it. */
  readonly types: readonly LoadType[];
  /** Load of one replica, in the unit of the type. */
  readonly target: number;
  /** How much of the target is used. */
  readonly proportion: number;
  /** Whether it goes to zero when it is idle. */
  readonly zero: boolean;
  readonly zeroDurationMs: number;
  /** For how long a lower count must have been enough. */
  readonly downWindowMs: number;
  /** By how many hundredths of the most replicas one alert adds. */
  readonly factor: number;
  /** Whether replicas are started ahead, by what its log says of its rhythm. */
  readonly forecast: boolean;
}

const minute = 60_000;
const longestDownWindowMs = 5 * minute;

/** How a function is scaled that says nothing. A count that goes down at once would go up again with the next burst. */
export const defaultScaleRules: ScaleRules = {
  min: 1,
  max: 20,
  types: ["rps"],
  target: 50,
  proportion: 0.9,
  zero: false,
  zeroDurationMs: 15 * minute,
  downWindowMs: 30_000,
  factor: 10,
  forecast: false,
};

/** What the text of one label means, and the rule that it must follow; `read` gives undefined where it does not. */
interface Field<T> {
  readonly label: string;
  readonly rule: string;
  readonly read: (text: string) => T | undefined;
}

const whole = (least: number, most: number) => ({
  rule: `a whole number from ${least} to ${most}`,
  read: (text: string) =>
    /^\d{1,9}$/.test(text) && Number(text) >= least && Number(text) <= most ? Number(text) : undefined,
});

const decimal = (rule: string, holds: (value: number) => boolean) => ({
  rule,
  read: (text: string) => (/^\d{1,9}(\.\d{1,9})?$/.test(text) && holds(Number(text)) ? Number(text) : undefined),
});

const duration = (rule: string, holds: (ms: number) => boolean) => ({
  rule,
  read: (text: string) => {
    const ms = parseDurationMs(text);
    return ms !== undefined && holds(ms) ? ms : undefined;
  },
});

/** Instead of a type of load: the scaler leaves the count to alerts. */
const byAlerts = "alert";

const flag = {
  rule: "true or false",
  read: (text: string) => (text === "true" ? true : text === "false" ? false : undefined),
};

const readTypes = (text: string): readonly LoadType[] | undefined => {
  if (text.trim() === byAlerts) return [];
  const words = text.split(",").map((word) => word.trim());
  const known = loadTypes.filter((type) => words.includes(type));
  return known.length === new Set(words).size ? known : undefined;
};

const fields: { readonly [K in keyof ScaleRules]: Field<ScaleRules[K]> } = {
  min: { label: scaleLabels.min, ...whole(0, maxReplicas) },
  max: { label: scaleLabels.max, ...whole(1, maxReplicas) },
  types: {
    label: scaleLabels.types,
    rule: `${loadTypes.slice(0, -1).join(", ")} or ${loadTypes.at(-1)}, or several of them joined by commas, or ${byAlerts} alone`,
    read: readTypes,
  },
  target: { label: scaleLabels.target, ...decimal("a number above 0", (value) => value > 0) },
  proportion: {
    label: scaleLabels.proportion,
    ...decimal("a number above 0 and not above 1", (value) => value > 0 && value <= 1),
  },
  zero: { label: scaleLabels.zero, ...flag },
  zeroDurationMs: {
    label: scaleLabels.zeroDuration,
    ...duration("a duration above 0 such as 90s or 15m", (ms) => ms > 0),
  },
  downWindowMs: {
    label: scaleLabels.downWindow,
    ...duration("a duration of at most 5m such as 30s", (ms) => ms <= longestDownWindowMs),
  },
  factor: { label: scaleLabels.factor, ...whole(0, 100) },
  forecast: { label: scaleLabels.forecast, ...flag },
};

const readField = <K extends keyof ScaleRules>(labels: Readonly<Record<string, string>>, key: K): ScaleRules[K] => {
  const text = labels[fields[key].label];
  return (text === undefined ? undefined : fields[key].read(text)) ?? defaultScaleRules[key];
};

/** How a function is scaled, by its labels. A label that breaks its rule counts as absent: a deploy refuses it. */
export const readScaleRules = ({ labels = {} }: Pick<FunctionSpec, "labels">): ScaleRules => {
  const min = readField(labels, "min");
  return {
    min,
    // Whoever asks for thirty at least has not asked for twenty at most.
    max: Math.max(min, readField(labels, "max")),
    types: readField(labels, "types"),
    target: readField(labels, "target"),
    proportion: readField(labels, "proportion"),
    zero: readField(labels, "zero"),
    zeroDurationMs: readField(labels, "zeroDurationMs"),
    downWindowMs: readField(labels, "downWindowMs"),
    factor: readField(labels, "factor"),
    forecast: readField(labels, "forecast"),
  };
};

/** What is wrong with a function's scale labels, a sentence each; empty when nothing is. */
export const scaleLabelFaults = (labels: Readonly<Record<string, string>>): readonly string[] => {
  const faults = Object.values(fields).flatMap(({ label, rule, read }: Field<unknown>) => {
    const text = labels[label];
    return text === undefined || read(text) !== undefined
      ? []
      : [`label ${label} must be ${rule}; got ${JSON.stringify(text)}`];
  });
  if (faults.length > 0) return faults;
  const max = labels[scaleLabels.max];
  const min = readField(labels, "min");
  return max !== undefined && Number(max) < min
    ? [`label ${scaleLabels.max} must be at least ${scaleLabels.min}, ${min}; got ${JSON.stringify(max)}`]
    : [];
};

const prefix = "com.openfaas.scale.";

/** Labels about scale that mean nothing, a sentence each: one that is misspelt is refused by nobody else either. */
export const unknownScaleLabels = (labels: Readonly<Record<string, string>>): readonly string[] => {
  const known: readonly string[] = Object.values(scaleLabels);
  return Object.keys(labels)
    .filter((label) => label.startsWith(prefix) && !known.includes(label))
    .map(
      (label) =>
        `label ${label} means nothing; after ${prefix} there are ${known
          .filter((of) => of.startsWith(prefix))
          .map((of) => of.slice(prefix.length))
          .join(", ")}`,
    );
};

/** The least replicas of a function, which is also how many it starts with. */
export const minReplicas = (spec: Pick<FunctionSpec, "labels">): number => readScaleRules(spec).min;

/** How many replicas a function that is wanted has at least. */
export const leastAwake = (spec: Pick<FunctionSpec, "labels">): number => Math.max(1, minReplicas(spec));
