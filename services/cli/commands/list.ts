import type { Command } from "commander";
import {
  bundleDigest,
  type FunctionSpec,
  type FunctionStatusRecord,
  type ReplicaRecord,
} from "../../../schemas/function.ts";
import { namespaceOf, type NamespaceOptions, openGateway, withExample, withJson, withNamespace } from "../options.ts";
import { printJson, printNote, printTable, type Terminal } from "../terminal.ts";

/** A function as GET /system/functions and /system/function/NAME describe it (OpenFaaS contract §1.5). */
export interface FunctionStatus extends FunctionSpec {
  readonly replicas?: number;
  readonly availableReplicas?: number;
  readonly invocationCount?: number;
  readonly createdAt?: string;
  readonly replicaStates?: readonly ReplicaRecord[];
  readonly warnings?: readonly string[];
  readonly problem?: NonNullable<FunctionStatusRecord["problem"]>;
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
  const namespace = namespaceOf(options);
  const query = { namespace };
  const response = await openGateway(options, terminal).call("list functions", { path: "/system/functions", query });
  const listed = (await response.json()) as readonly FunctionStatus[];
  const functions = listed.toSorted((a, b) => a.name.localeCompare(b.name));
  if (options.json) return printJson(terminal, functions);
  // A mistyped namespace looks like an empty one: the gateway makes no difference.
  if (functions.length === 0) return printNote(terminal, `no functions in ${namespace}`);
  printTable(terminal, ["NAME", "READY", "CALLS", "IMAGE"], functions.map(row));
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
