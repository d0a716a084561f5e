import type { Command } from "commander";
import { formatFunctionName } from "../../../schemas/names.ts";
import type { ScaleDecision, ScaleExplanation } from "../../../schemas/scaler.ts";
import { addBacktestCommand } from "./backtest.ts";
import { functionOf, type NamespaceOptions, openGateway, withExample, withJson, withNamespace } from "../options.ts";
import { printJson, printLine, type Terminal } from "../terminal.ts";

const decisionLines = (title: string, { at, from, replicas, rule, because, numbers }: ScaleDecision): string[] => {
  const width = Math.max(...Object.keys(numbers).map((name) => name.length)) + 1;
  return [
    `${title}: ${from === replicas ? `${replicas}` : `${from} -> ${replicas}`} at ${at}`,
    `  ${rule}: ${because}`,
    ...Object.entries(numbers).map(([name, value]) => `    ${`${name}:`.padEnd(width)} ${value}`),
  ];
};

const explain = async (
  text: string,
  options: NamespaceOptions & { json?: boolean },
  terminal: Terminal,
): Promise<void> => {
  const { name, namespace } = functionOf(text, options);
  const response = await openGateway(options, terminal).call(`explain ${formatFunctionName({ name, namespace })}`, {
    path: `/system/scaler/${name}`,
    query: { namespace },
  });
  const explanation = (await response.json()) as ScaleExplanation;
  if (options.json) return printJson(terminal, explanation);
  const { latest, lastChange } = explanation;
  for (const line of latest ? decisionLines("replicas", latest) : []) printLine(terminal, line);
  for (const line of lastChange ? ["", ...decisionLines("last change", lastChange)] : []) printLine(terminal, line);
};

/** Adds `busker scaler explain NAME` and `busker scaler backtest [NAME]`. */
export const addScalerCommand = (program: Command, terminal: Terminal): void => {
  const scaler = program.command("scaler").description("what the scaler does, and why");
  const command = scaler
    .command("explain")
    .description("show why a function has as many replicas as it has: the rule and the numbers")
    .argument("<name>", "NAME or NAME.NAMESPACE")
    .action((name: string, options: NamespaceOptions & { json?: boolean }) => explain(name, options, terminal));
  withExample(withJson(withNamespace(command)), "busker scaler explain wordcount");
  addBacktestCommand(scaler, terminal);
};
