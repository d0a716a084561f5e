import type { Command } from "commander";
import type { BacktestResult, RecordedLoad, SimulatedResult } from "../../../schemas/backtest.ts";
import { formatFunctionName, type FunctionName } from "../../../schemas/names.ts";
import { scaleLabels } from "../../../schemas/scale-labels.ts";
import type { GatewayClient } from "../gateway-client.ts";
import {
  functionOf,
  namespaceOf,
  type NamespaceOptions,
  openGateway,
  withExample,
  withJson,
  withNamespace,
} from "../options.ts";
import { parseSince } from "../parse-time.ts";
import { readPolicy } from "../backtest/read-policy.ts";
import { runBacktest } from "../backtest/run-backtest.ts";
import { printJson, printLine, printNote, printTable, type Terminal } from "../terminal.ts";

interface BacktestOptions extends NamespaceOptions {
  readonly json?: boolean;
  readonly since?: string;
  readonly policy?: string;
}

interface Tested extends BacktestResult {
  readonly function: string;
}

const minuteMs = 60_000;
const weekMs = 7 * 24 * 60 * minuteMs;
const asksForForecast = { [scaleLabels.forecast]: "true" };

const namesOf = async (gateway: GatewayClient, options: NamespaceOptions): Promise<readonly FunctionName[]> => {
  const namespace = namespaceOf(options);
  const response = await gateway.call("list functions", { path: "/system/functions", query: { namespace } });
  const functions = (await response.json()) as readonly { readonly name: string }[];
  return functions.map(({ name }) => ({ name, namespace }));
};

const readLoad = async (gateway: GatewayClient, { name, namespace }: FunctionName): Promise<RecordedLoad> => {
  const response = await gateway.call(`read the load of ${formatFunctionName({ name, namespace })}`, {
    path: "/system/scaler/load",
    query: { function: name, namespace },
  });
  return (await response.json()) as RecordedLoad;
};

/** Tests one function; undefined where the log has no calls of it in that time. */
const testOne = async (load: RecordedLoad, options: BacktestOptions): Promise<Tested | undefined> => {
  const sinceMs = options.since === undefined ? Date.now() - weekMs : Date.parse(options.since);
  // Not before the log begins: of what nobody has watched there is nothing to tell.
  const firstMs = (load.minutes[0]?.minute ?? 0) * minuteMs;
  const fromMs = Math.max(firstMs, Math.ceil(sinceMs / minuteMs) * minuteMs);
  const last = load.minutes.at(-1);
  const untilMs = ((last?.minute ?? 0) + 1) * minuteMs;
  const hasCalls = load.minutes.some(({ minute, started }) => started > 0 && minute * minuteMs >= fromMs);
  if (!hasCalls) return undefined;
  const proposed = options.policy === undefined ? asksForForecast : readPolicy(options.policy);
  const result = await runBacktest({ ...load, proposed, fromMs, untilMs });
  return { function: formatFunctionName(load.spec), ...result };
};

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

const rows: readonly (readonly [string, (result: SimulatedResult) => string])[] = [
  ["cold starts", ({ coldStarts }) => String(coldStarts)],
  ["calls that waited", ({ waited }) => String(waited)],
  ["waiting time", ({ waitedMs }) => seconds(waitedMs)],
  ["replica-seconds", ({ replicaSeconds }) => String(Math.round(replicaSeconds))],
];

const printTested = (tested: Tested, terminal: Terminal): void => {
  const { current, proposed, startMs, notes } = tested;
  printTable(
    terminal,
    [tested.function, "CURRENT", "PROPOSED"],
    rows.map(([what, cell]) => [what, cell(current), cell(proposed)]),
  );
  printLine(terminal, `${current.calls} calls; a replica starts in ${seconds(startMs)}`);
  for (const note of notes) printLine(terminal, `note: ${note}`);
};

const backtest = async (text: string | undefined, options: BacktestOptions, terminal: Terminal): Promise<void> => {
  // A policy that cannot be used is told before anything is read.
  if (options.policy !== undefined) readPolicy(options.policy);
  const gateway = openGateway(options, terminal);
  const names = text === undefined ? await namesOf(gateway, options) : [functionOf(text, options)];
  const tested: Tested[] = [];
  for (const name of names) {
    const one = await testOne(await readLoad(gateway, name), options);
    if (!one) {
      printNote(terminal, `the log has no calls of ${formatFunctionName(name)} in this time`);
      continue;
    }
    if (!options.json && tested.length > 0) printLine(terminal);
    if (!options.json) printTested(one, terminal);
    tested.push(one);
  }
  if (options.json) printJson(terminal, tested);
};

/** Adds `busker scaler backtest [NAME]`. */
export const addBacktestCommand = (scaler: Command, terminal: Terminal): void => {
  const command = scaler
    .command("backtest")
    .description("run the current and a proposed policy over the recorded load, and compare what comes of it")
    .argument("[name]", "NAME or NAME.NAMESPACE (default: every function of the namespace)")
    .option("--since <time>", "the load since then: a duration (48h) or a time in RFC 3339 (default: 168h)", parseSince)
    .option("--policy <labels>", "the proposal: a YAML file, or labels as key=value,… (default: forecast=true)")
    .action((name: string | undefined, options: BacktestOptions) => backtest(name, options, terminal));
  withExample(
    withJson(withNamespace(command)),
    "busker scaler backtest wordcount",
    "busker scaler backtest wordcount --since 72h --policy zero=true,zero-duration=5m,forecast=true",
  );
};
