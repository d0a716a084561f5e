import type { Command } from "commander";
import { formatFunctionName } from "../../../schemas/names.ts";
import { commandName } from "../command-name.ts";
import { addDeployFlags, type DeployFlags, settingsOfFlags } from "../deploy-flags.ts";
import { deployFolder } from "../deploy-folder.ts";
import { deployImage } from "../deploy-image.ts";
import type { GatewayClient } from "../gateway-client.ts";
import { natsOptions } from "../local-nats.ts";
import { openGateway, urlName, withExample, withJson, withNamespace } from "../options.ts";
import type { Outcome } from "../outcome.ts";
import type { Deployed } from "../put-function.ts";
import { printJson, printLine, printNote, type Terminal } from "../terminal.ts";
import { usageError } from "../usage-error.ts";
import type { TellProgress } from "../wish-answer.ts";
import type { FunctionStatus } from "./list.ts";

const printDeployed = async (terminal: Terminal, deployed: Deployed, gateway: GatewayClient): Promise<void> => {
  const { name, namespace, url, done } = deployed;
  const nats = await natsOptions(gateway.url, terminal.env);
  printLine(terminal, `${formatFunctionName(deployed)} ${done}: ${url}`);
  printLine(terminal, `  echo hello | ${commandName(terminal.env)} invoke ${urlName(deployed)}`);
  printLine(terminal, `  curl --data hello ${url}`);
  if (nats !== undefined) printLine(terminal, `  nats ${nats} request busker.invoke.${namespace}.${name} hello`);
};

type Words = Pick<FunctionStatus, "problem" | "warnings">;

// Only words are missing without it, so it may fail.
const findWords = async (gateway: GatewayClient, { name, namespace }: Deployed): Promise<Words> => {
  try {
    const request = { path: `/system/function/${name}`, query: { namespace } };
    return (await (await gateway.call(`describe ${name}`, request)).json()) as Words;
  } catch {
    return {};
  }
};

const isWithoutReplica = ({ replicas = 0, availableReplicas = 0 }: Deployed): boolean =>
  replicas > 0 && availableReplicas === 0;

const printNotReady = (terminal: Terminal, deployed: Deployed, seconds: number, problem: string | undefined): void => {
  const command = commandName(terminal.env);
  const name = urlName(deployed);
  printNote(
    terminal,
    `${formatFunctionName(deployed)} is deployed, but no replica is ready after ${seconds} s (0/${deployed.replicas}); ` +
      `the platform goes on trying: ${command} describe ${name}, ${command} logs ${name}`,
  );
  if (problem !== undefined) printNote(terminal, problem);
};

/** What is to be deployed: a folder, or the image of `--image`. */
type What = readonly [path: string | undefined, flags: DeployFlags];

const deployWhat = (gateway: GatewayClient, [path, flags]: What, tell: TellProgress): Promise<Deployed> => {
  const { image, name } = flags;
  const request = { settings: settingsOfFlags(flags), ...(name === undefined ? {} : { name }) };
  if (path !== undefined && image === undefined) return deployFolder(gateway, { ...request, path }, tell);
  if (path === undefined && image !== undefined) return deployImage(gateway, { ...request, image }, tell);
  throw usageError("give either a folder (or its archive) or --image");
};

const deploy = async (
  path: string | undefined,
  flags: DeployFlags,
  terminal: Terminal,
  outcome: Outcome,
): Promise<void> => {
  const startedAtMs = performance.now();
  const gateway = openGateway(flags, terminal);
  const deployed = await deployWhat(gateway, [path, flags], (progress) => printNote(terminal, progress));
  const seconds = Math.round((performance.now() - startedAtMs) / 1000);
  if (flags.json) printJson(terminal, deployed);
  const { problem, warnings = [] } = await findWords(gateway, deployed);
  for (const warning of warnings) printNote(terminal, `warning: ${warning}`);
  if (!isWithoutReplica(deployed)) return flags.json ? undefined : printDeployed(terminal, deployed, gateway);
  outcome.exitCode = 1;
  printNotReady(terminal, deployed, seconds, problem?.message);
};

/** Adds `busker deploy PATH`. */
export const addDeployCommand = (program: Command, terminal: Terminal, outcome: Outcome): void => {
  const command = program
    .command("deploy")
    .description("deploy a folder, a .tar.gz or an image as a function, or replace the one of that name")
    .argument("[path]", "the function's folder, with a function.yaml or a handler.mjs; or an archive of it")
    .action((path: string | undefined, flags: DeployFlags) => deploy(path, flags, terminal, outcome));
  withExample(
    addDeployFlags(withJson(withNamespace(command))),
    "busker deploy ./hello",
    'busker deploy ./report --fprocess "python3 report.py" --env exec_timeout=2m --memory-limit 128Mi',
    "busker deploy --image alpine --name upper --fprocess 'tr a-z A-Z'",
  );
};
