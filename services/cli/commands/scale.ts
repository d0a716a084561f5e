import { type Command, InvalidArgumentError } from "commander";
import { maxReplicas } from "../../../schemas/function.ts";
import { formatFunctionName } from "../../../schemas/names.ts";
import { functionOf, type NamespaceOptions, openGateway, withExample, withJson, withNamespace } from "../options.ts";
import { printJson, printLine, type Terminal } from "../terminal.ts";

const parseCount = (text: string): number => {
  if (/^\d{1,9}$/.test(text) && Number(text) <= maxReplicas) return Number(text);
  throw new InvalidArgumentError(`It must be a whole number from 0 to ${maxReplicas}.`);
};

const countText = (replicas: number): string => (replicas === 1 ? "1 replica" : `${replicas} replicas`);

const scale = async (
  text: string,
  replicas: number,
  options: NamespaceOptions & { json?: boolean },
  terminal: Terminal,
): Promise<void> => {
  const { name, namespace } = functionOf(text, options);
  await openGateway(options, terminal).call(`scale ${formatFunctionName({ name, namespace })}`, {
    method: "POST",
    path: `/system/scale-function/${name}`,
    query: { namespace },
    json: { serviceName: name, namespace, replicas },
  });
  if (options.json) printJson(terminal, { name, namespace, replicas });
  // A wish and not a state: replicas become ready afterwards, and `list` shows how many are.
  else printLine(terminal, `${formatFunctionName({ name, namespace })}: ${countText(replicas)} wished for`);
};

/** Adds `busker scale NAME N`. */
export const addScaleCommand = (program: Command, terminal: Terminal): void => {
  const command = program
    .command("scale")
    .description("set how many replicas of a function run")
    .argument("<name>", "NAME or NAME.NAMESPACE")
    .argument("<replicas>", "how many; at 0 the next call starts one", parseCount)
    .action((name: string, replicas: number, options: NamespaceOptions & { json?: boolean }) =>
      scale(name, replicas, options, terminal),
    );
  withExample(withJson(withNamespace(command)), "busker scale wordcount 3");
};
