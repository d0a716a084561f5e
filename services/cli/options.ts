import type { Command } from "commander";
import { defaultNamespace, type FunctionName, parseFunctionName, checkName } from "../../schemas/names.ts";
import { describeError } from "../runtime/log.ts";
import { explainRefusal, findCredentials } from "./find-credentials.ts";
import { resolveGatewayUrl } from "./gateway-address.ts";
import { createGatewayClient, type GatewayClient } from "./gateway-client.ts";
import type { Terminal } from "./terminal.ts";
import { usageError } from "./usage-error.ts";

/** The options that every command with a gateway has. */
export interface GatewayOptions {
  readonly gateway?: string;
}

/** The options of a command about one function or one namespace. */
export interface NamespaceOptions extends GatewayOptions {
  readonly namespace?: string;
}

/** Adds `-g, --gateway`. */
export const withGateway = (command: Command): Command =>
  command.option("-g, --gateway <url>", "the gateway (default: BUSKER_URL, OPENFAAS_URL or http://127.0.0.1:8080)");

/** Adds `-g, --gateway` and `-n, --namespace`. */
export const withNamespace = (command: Command): Command =>
  withGateway(command).option("-n, --namespace <name>", `the namespace (default: ${defaultNamespace})`);

/** Adds `--json`. */
export const withJson = (command: Command): Command => command.option("--json", "print JSON for another program");

/** Adds an example to a command's help. */
export const withExample = (command: Command, ...lines: readonly string[]): Command =>
  command.addHelpText("after", `\nExample:\n${lines.map((line) => `  ${line}`).join("\n")}`);

/** The client for these options and this environment. */
export const openGateway = ({ gateway }: GatewayOptions, terminal: Terminal): GatewayClient => {
  const url = resolveGatewayUrl(gateway, terminal.env);
  return createGatewayClient(url, findCredentials(url, terminal.env), explainRefusal(url, terminal.env));
};

/** Turns an `invalid_request` of a check into a usage error: here it is the typist's own word that broke the rule. */
export const asUsage = <T>(check: () => T): T => {
  try {
    return check();
  } catch (error) {
    throw usageError(describeError(error));
  }
};

/** The namespace of these options. */
export const namespaceOf = ({ namespace }: NamespaceOptions): string =>
  asUsage(() => checkName("namespace", namespace ?? defaultNamespace));

/** The function that `NAME` or `NAME.NAMESPACE` means, the option `-n` going before a namespace in the name. */
export const functionOf = (text: string, { namespace }: NamespaceOptions): FunctionName =>
  asUsage(() =>
    namespace === undefined
      ? parseFunctionName(text)
      : { ...parseFunctionName(text), namespace: checkName("namespace", namespace) },
  );

/** The path segment of a function in a gateway's URL: a function of the default namespace goes by its name alone. */
export const urlName = ({ namespace, name }: FunctionName): string =>
  namespace === defaultNamespace ? name : `${name}.${namespace}`;
