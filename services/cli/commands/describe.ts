import type { Command } from "commander";
import { formatFunctionName } from "../../../schemas/names.ts";
import {
  functionOf,
  type NamespaceOptions,
  openGateway,
  urlName,
  withExample,
  withJson,
  withNamespace,
} from "../options.ts";
import { printJson, printLine, type Terminal } from "../terminal.ts";
import type { FunctionStatus } from "./list.ts";

const textOf = (value: unknown): string => {
  if (Array.isArray(value)) return value.join(", ");
  if (typeof value !== "object" || value === null) return String(value);
  return Object.entries(value)
    .map(([key, item]) => `${key}=${String(item)}`)
    .join(" ");
};

const describeFunction = async (
  text: string,
  options: NamespaceOptions & { json?: boolean },
  terminal: Terminal,
): Promise<void> => {
  const name = functionOf(text, options);
  const gateway = openGateway(options, terminal);
  const response = await gateway.call(`describe ${formatFunctionName(name)}`, {
    path: `/system/function/${name.name}`,
    query: { namespace: name.namespace },
  });
  const status = (await response.json()) as FunctionStatus;
  if (options.json) return printJson(terminal, status);
  const { availableReplicas = 0, replicas = 0, ...rest } = status;
  const shown = { ...rest, ready: `${availableReplicas}/${replicas}`, url: `${gateway.url}/function/${urlName(name)}` };
  for (const [key, value] of Object.entries(shown)) printLine(terminal, `${`${key}:`.padEnd(17)} ${textOf(value)}`);
};

/** Adds `busker describe NAME`. */
export const addDescribeCommand = (program: Command, terminal: Terminal): void => {
  const command = program
    .command("describe")
    .description("show everything that is known of a function")
    .argument("<name>", "NAME or NAME.NAMESPACE")
    .action((name: string, options: NamespaceOptions & { json?: boolean }) =>
      describeFunction(name, options, terminal),
    );
  withExample(withJson(withNamespace(command)), "busker describe wordcount");
};
