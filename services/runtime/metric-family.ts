import { setImmediate as nextTurn } from "node:timers/promises";
import { Counter, Gauge, Histogram as HistogramMetric, type Metric, Registry } from "prom-client";
import { type Histogram, timeBounds } from "../../schemas/histogram.ts";

/** One line of a family: a number, or a histogram of times, which becomes several. */
export interface Line {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number | Histogram;
}

/** A family of numbers that are counted elsewhere, and asked for when somebody scrapes. */
export interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly collect: () => Iterable<Line> | Promise<Iterable<Line>>;
}

/** One value as prom-client writes it; labels that several of them share it puts into text once. */
interface Value {
  readonly labels?: Readonly<Record<string, string>>;
  readonly sharedLabels: Readonly<Record<string, string>>;
  readonly value: number;
  readonly metricName: string;
}

const classes = [...timeBounds.map(String), "+Inf"].map((le) => ({ le }));

const addValues = (to: Value[], name: string, { labels: sharedLabels, value }: Line): void => {
  if (typeof value === "number") return void to.push({ sharedLabels, value, metricName: name });
  let count = 0;
  for (const [at, labels] of classes.entries()) {
    count += value.counts[at] ?? 0;
    to.push({ labels, sharedLabels, value: count, metricName: `${name}_bucket` });
  }
  to.push({ sharedLabels, value: value.sum, metricName: `${name}_sum` });
  to.push({ sharedLabels, value: count, metricName: `${name}_count` });
};

// Written in a few milliseconds.
const pageLines = 2000;

const headLines = 2;

/** What is behind the first lines of a text. */
const behindHead = (text: string): string => {
  let at = 0;
  for (let line = 0; line < headLines; line += 1) at = text.indexOf("\n", at) + 1;
  return text.slice(at);
};

/** A page of a family as text, its head with the first. */
const renderPage = async (
  { name, help, type }: Family,
  values: readonly Value[],
  isFirst: boolean,
): Promise<string> => {
  const page = new Registry();
  const get = () => Promise.resolve({ name, help, type, values });
  page.registerMetric({ name, get } as unknown as Metric);
  const text = (await page.metrics()).trimEnd();
  return isFirst ? text : behindHead(text);
};

const renderFamily = async (family: Family): Promise<string> => {
  const pages: string[] = [];
  let values: Value[] = [];
  const turn = async (): Promise<void> => {
    pages.push(await renderPage(family, values, pages.length === 0));
    values = [];
    await nextTurn();
  };
  for (const line of await family.collect()) {
    addValues(values, family.name, line);
    if (values.length >= pageLines) await turn();
  }
  if (values.length > 0 || pages.length === 0) await turn();
  return pages.join("\n");
};

const kinds = { counter: Counter, gauge: Gauge, histogram: HistogramMetric };

/** A family in a registry. */
export type FamilyMetric = Metric & { readonly render: () => Promise<string> };

/** Whether a metric of a registry is a family, which renders itself. */
export const isFamilyMetric = (metric: object): metric is FamilyMetric => "render" in metric;

/** Adds a family to a registry. prom-client counts by itself, and takes no histogram from elsewhere. */
export const addFamily = (registry: Registry, family: Family): void => {
  const { name, help, type } = family;
  const metric = new kinds[type]({ name, help, registers: [] });
  registry.registerMetric(Object.assign(metric, { render: () => renderFamily(family) }));
};
