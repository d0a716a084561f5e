import type { Command } from "commander";
import { formatFunctionName } from "../../../schemas/names.ts";
import { functionOf, type NamespaceOptions, openGateway, withExample, withJson, withNamespace } from "../options.ts";
import { printJson, printLine, type Terminal } from "../terminal.ts";

const removeFunction = async (
  text: string,
  options: NamespaceOptions & { json?: boolean },
  terminal: Terminal,
): Promise<void> => {
  const { name, namespace } = functionOf(text, options);
  await openGateway(options, terminal).call(`remove ${formatFunctionName({ name, namespace })}`, {
    method: "DELETE",
    path: "/system/functions",
    query: { namespace },
    json: { functionName: name, namespace },
  });
  if (options.json) printJson(terminal, { name, namespace, removed: true });
  else printLine(terminal, `${formatFunctionName({ name, namespace })} removed`);
};

/** Adds `busker remove NAME`. */
export const addRemoveCommand = (program: Command, terminal: Terminal): void => {
  const command = program
    .command("remove")
    .alias("rm")
    .description("remove a function; calls in flight are finished first")
    .argument("<name>", "NAME or NAME.NAMESPACE")
    .action((name: string, options: NamespaceOptions & { json?: boolean }) => removeFunction(name, options, terminal));
  withExample(withJson(withNamespace(command)), "busker remove wordcount");
};
