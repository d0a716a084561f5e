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

const isEmpty = (value: unknown): boolean =>
  value === undefined || (typeof value === "object" && value !== null && Object.keys(value).length === 0);

const problemText = ({ message, at, failures, nextTryAt }: NonNullable<FunctionStatus["problem"]>): string => {
  const failed = failures === 0 ? "" : `; failed starts in a row: ${failures}`;
  const next = nextTryAt === undefined ? "" : `; next try at ${nextTryAt}`;
  return `${message.trimEnd()} (at ${at}${failed}${next})`;
};

/** What is shown of a function, a row of key and text for each line. */
const rowsOf = (status: FunctionStatus, url: string): readonly (readonly [string, string])[] => {
  const { availableReplicas = 0, replicas = 0, replicaStates = [], warnings = [], problem, ...rest } = status;
  const known = Object.entries(rest).filter(([, value]) => !isEmpty(value));
  return [
    ...known.map(([key, value]) => [key, textOf(value)] as const),
    ["ready", `${availableReplicas}/${replicas}`],
    ...replicaStates.map(({ id, state, since }) => ["replica", `${id} ${state} since ${since}`] as const),
    ...warnings.map((warning) => ["warning", warning] as const),
    ...(problem === undefined ? [] : [["problem", problemText(problem)] as const]),
    ["url", url],
  ];
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
  for (const [key, value] of rowsOf(status, `${gateway.url}/function/${urlName(name)}`))
    // A problem may quote several lines of a function's own output.
    printLine(terminal, `${`${key}:`.padEnd(17)} ${value.trimEnd().replaceAll("\n", `\n${" ".repeat(18)}`)}`);
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
