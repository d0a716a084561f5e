import type { Command } from "commander";
import { bundleDigest, type FunctionSpec } from "../../../schemas/function.ts";
import { namespaceOf, type NamespaceOptions, openGateway, withExample, withJson, withNamespace } from "../options.ts";
import { printJson, printTable, type Terminal } from "../terminal.ts";

/** A function as GET /system/functions and /system/function/NAME describe it (OpenFaaS contract §1.5). */
export interface FunctionStatus extends FunctionSpec {
  readonly replicas?: number;
  readonly availableReplicas?: number;
  readonly invocationCount?: number;
  readonly createdAt?: string;
}

/** What a person wants to see of an image reference: a bundle's digest is told apart by its first characters. */
export const shortImage = (image: string): string => {
  const digest = bundleDigest(image);
  return digest === undefined ? image : `bundle:${digest.slice(0, 12)}`;
};

const row = (status: FunctionStatus): readonly string[] => [
  status.name,
  `${status.availableReplicas ?? 0}/${status.replicas ?? 0}`,
  String(status.invocationCount ?? 0),
  shortImage(status.image),
];

const listFunctions = async (options: NamespaceOptions & { json?: boolean }, terminal: Terminal): Promise<void> => {
  const query = { namespace: namespaceOf(options) };
  const response = await openGateway(options, terminal).call("list functions", { path: "/system/functions", query });
  const functions = (await response.json()) as readonly FunctionStatus[];
  if (options.json) printJson(terminal, functions);
  else printTable(terminal, ["NAME", "READY", "CALLS", "IMAGE"], functions.map(row));
};

/** Adds `busker list`. */
export const addListCommand = (program: Command, terminal: Terminal): void => {
  const command = program
    .command("list")
    .alias("ls")
    .description("list a namespace's functions, with replicas ready and wished for")
    .action((options: NamespaceOptions & { json?: boolean }) => listFunctions(options, terminal));
  withExample(withJson(withNamespace(command)), "busker list --json");
};
