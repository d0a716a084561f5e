import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { eventually } from "./platform.ts";
import { ask } from "./watchers.ts";

const folder = resolve(import.meta.dirname, "../../infra/grafana/dashboards");

/** A dashboard of Grafana, as far as it is looked at here. */
export interface Dashboard {
  readonly uid: string;
  readonly title: string;
  readonly templating: { readonly list: readonly { readonly name: string; readonly definition?: string }[] };
  readonly panels: readonly {
    readonly id: number;
    readonly title: string;
    readonly datasource: { readonly type: string; readonly uid: string };
    readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
    readonly targets: readonly { readonly expr: string }[];
  }[];
}

/** Every dashboard that is provisioned, by its file's name. */
export const readDashboards = (): ReadonlyMap<string, Dashboard> =>
  new Map(readdirSync(folder).map((name) => [name, JSON.parse(readFileSync(join(folder, name), "utf8")) as Dashboard]));

/** A query as Grafana sends it. */
const fillIn = (expression: string, variables: Readonly<Record<string, string>>): string =>
  expression.replaceAll(/\$(\w+)/g, (_, name: string) => {
    const value = variables[name];
    if (value === undefined) throw new Error(`no variable $${name}`);
    return value;
  });

// A quantile of nothing is no number.
const hasData = async (prometheus: string, query: string): Promise<true | undefined> =>
  (await ask(prometheus, query)).some(({ value: [, text] }) => text !== "NaN") || undefined;

/** The queries of a dashboard that give no data within this time, or that Prometheus does not understand; each with its panel. */
export const queriesWithoutData = async (
  prometheus: string,
  dashboard: Dashboard,
  variables: Readonly<Record<string, string>>,
  withinMs: number,
): Promise<readonly string[]> => {
  const faults: string[] = [];
  for (const { title, targets } of dashboard.panels)
    for (const { expr } of targets) {
      const where = `${dashboard.title}, ${title}`;
      await eventually(expr, () => hasData(prometheus, fillIn(expr, variables)), withinMs).catch((error: unknown) =>
        faults.push(`${where}: ${String(error)}`),
      );
    }
  return faults;
};
