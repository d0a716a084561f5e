import { readFileSync } from "node:fs";
import { buffer } from "node:stream/consumers";
import type { Command } from "commander";
import { BuskerError } from "../../../schemas/errors.ts";
import { checkSecretName, formatSecretName, type SecretName } from "../../../schemas/secret.ts";
import { describeError } from "../../runtime/log.ts";
import {
  asUsage,
  namespaceOf,
  type NamespaceOptions,
  openGateway,
  withExample,
  withJson,
  withNamespace,
} from "../options.ts";
import { printJson, printLine, printNote, printTable, type Terminal } from "../terminal.ts";
import { usageError } from "../usage-error.ts";

interface ValueOptions extends NamespaceOptions {
  readonly fromLiteral?: string;
  readonly fromFile?: string;
  readonly trim: boolean;
}

const path = "/system/secrets";

const nameOf = (name: string, options: NamespaceOptions): SecretName => ({
  name: asUsage(() => checkSecretName("the secret's name", name)),
  namespace: namespaceOf(options),
});

const readFile = (file: string): Buffer => {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new BuskerError("invalid_request", `cannot read the value from ${file}: ${describeError(cause)}`);
  }
};

const readBytes = async ({ fromLiteral, fromFile }: ValueOptions, terminal: Terminal): Promise<Buffer> => {
  if (fromLiteral !== undefined && fromFile !== undefined)
    throw usageError("--from-literal and --from-file exclude each other");
  if (fromLiteral !== undefined) return Buffer.from(fromLiteral);
  if (fromFile !== undefined) return readFile(fromFile);
  if (terminal.stdin.isTTY) printNote(terminal, "reading the value from the keyboard; Ctrl-D ends it");
  return buffer(terminal.stdin);
};

/** The value as the gateway takes it: text as text, without the white space around it, and other bytes as they are. */
const readValue = async (
  options: ValueOptions,
  terminal: Terminal,
): Promise<{ value: string } | { rawValue: string }> => {
  const bytes = await readBytes(options, terminal);
  const text = bytes.toString();
  if (!Buffer.from(text).equals(bytes)) return { rawValue: bytes.toString("base64") };
  const value = options.trim ? text.trim() : text;
  if (value === "") throw usageError("the value is empty: pipe it in, or give --from-file or --from-literal");
  return { value };
};

type Verb = "create" | "update";

const methods = { create: "POST", update: "PUT" } as const;

const write = async (
  verb: Verb,
  name: string,
  options: ValueOptions & { replace?: boolean },
  terminal: Terminal,
): Promise<void> => {
  const secret = nameOf(name, options);
  const json = { ...secret, ...(await readValue(options, terminal)) };
  const gateway = openGateway(options, terminal);
  const send = async (act: Verb, mayExist: boolean): Promise<Verb> => {
    const response = await gateway.send({ method: methods[act], path, json });
    if (!response.ok && !(response.status === 409 && mayExist))
      throw await gateway.failure(`${act} secret ${formatSecretName(secret)}`, response);
    await response.body?.cancel();
    return response.ok ? act : send("update", false);
  };
  printLine(terminal, `secret ${formatSecretName(secret)} ${await send(verb, options.replace ?? false)}d`);
};

const list = async (options: NamespaceOptions & { json?: boolean }, terminal: Terminal): Promise<void> => {
  const namespace = namespaceOf(options);
  const response = await openGateway(options, terminal).call("list secrets", { path, query: { namespace } });
  const secrets = (await response.json()) as readonly SecretName[];
  if (options.json) return printJson(terminal, secrets);
  if (secrets.length === 0) return printNote(terminal, `no secrets in ${namespace}`);
  printTable(
    terminal,
    ["NAME"],
    secrets.map(({ name }) => [name]),
  );
};

const remove = async (name: string, options: NamespaceOptions, terminal: Terminal): Promise<void> => {
  const secret = nameOf(name, options);
  const what = `remove secret ${formatSecretName(secret)}`;
  await openGateway(options, terminal).call(what, { method: "DELETE", path, json: secret });
  printLine(terminal, `secret ${formatSecretName(secret)} removed`);
};

const withValue = (command: Command): Command =>
  withNamespace(command)
    .argument("<name>", "the secret's name")
    .option("--from-file <path>", "a file with the value, instead of standard input")
    .option("--from-literal <text>", "the value itself, which others on this machine can then see")
    .option("--no-trim", "keep the white space around a text");

/** Adds `busker secret create|update|list|remove`. */
export const addSecretCommand = (program: Command, terminal: Terminal): void => {
  const secret = program
    .command("secret")
    .description("make, list and remove what functions shall know and others not");
  withExample(secret, "busker secret create api-key < key.txt", "busker deploy ./hello --secret api-key");
  const create = withValue(secret.command("create"))
    .description("create a secret from standard input, a file or a text")
    .option("--replace", "update it when it is there already")
    .action((name: string, options: ValueOptions & { replace?: boolean }) => write("create", name, options, terminal));
  withExample(create, "busker secret create api-key --from-file key.txt");
  const update = withValue(secret.command("update"))
    .description("give a secret another value; running functions get it, too")
    .action((name: string, options: ValueOptions) => write("update", name, options, terminal));
  withExample(update, "busker secret update api-key < key.txt");
  const listing = secret
    .command("list")
    .alias("ls")
    .description("list the names of a namespace's secrets; nothing shows their values")
    .action((options: NamespaceOptions & { json?: boolean }) => list(options, terminal));
  withExample(withJson(withNamespace(listing)), "busker secret list");
  const removing = secret
    .command("remove")
    .alias("rm")
    .description("remove a secret that no function uses")
    .argument("<name>", "the secret's name")
    .action((name: string, options: NamespaceOptions) => remove(name, options, terminal));
  withExample(withNamespace(removing), "busker secret remove api-key");
};
