import type { Command } from "commander";
import { formatFunctionName } from "../../../schemas/names.ts";
import { addDeployFlags, type DeployFlags, settingsOfFlags } from "../deploy-flags.ts";
import { type Deployed, deployFolder } from "../deploy-folder.ts";
import { openGateway, urlName, withExample, withJson, withNamespace } from "../options.ts";
import { printJson, printLine, type Terminal } from "../terminal.ts";

const printDeployed = (terminal: Terminal, deployed: Deployed): void => {
  const { name, namespace, url, done } = deployed;
  printLine(terminal, `${formatFunctionName(deployed)} ${done}: ${url}`);
  printLine(terminal, `  echo hello | busker invoke ${urlName(deployed)}`);
  printLine(terminal, `  curl --data hello ${url}`);
  printLine(terminal, `  nats request busker.invoke.${namespace}.${name} hello`);
};

const deploy = async (path: string, flags: DeployFlags, terminal: Terminal): Promise<void> => {
  const request = { path, settings: settingsOfFlags(flags), ...(flags.name === undefined ? {} : { name: flags.name }) };
  const deployed = await deployFolder(openGateway(flags, terminal), request);
  if (flags.json) printJson(terminal, deployed);
  else printDeployed(terminal, deployed);
};

/** Adds `busker deploy PATH`. */
export const addDeployCommand = (program: Command, terminal: Terminal): void => {
  const command = program
    .command("deploy")
    .description("deploy a folder or a .tar.gz as a function, or replace the one of that name")
    .argument("<path>", "the function's folder, with a function.yaml or a handler.mjs; or an archive of it")
    .action((path: string, flags: DeployFlags) => deploy(path, flags, terminal));
  withExample(
    addDeployFlags(withJson(withNamespace(command))),
    "busker deploy ./hello",
    'busker deploy ./report --fprocess "python3 report.py" --env exec_timeout=2m --memory-limit 128Mi',
  );
};
