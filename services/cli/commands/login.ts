import { createInterface } from "node:readline";
import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import type { Command } from "commander";
import { adminUser } from "../find-credentials.ts";
import { resolveGatewayUrl } from "../gateway-address.ts";
import { createGatewayClient } from "../gateway-client.ts";
import { loginFile, writeLogin } from "../login-store.ts";
import { type GatewayOptions, withExample, withGateway } from "../options.ts";
import { printLine, type Terminal } from "../terminal.ts";
import { usageError } from "../usage-error.ts";

interface LoginOptions extends GatewayOptions {
  readonly username: string;
  readonly password?: string;
}

// Readline draws on a stream that goes nowhere, so that the password does not appear on the screen.
const askPassword = (terminal: Terminal): Promise<string> =>
  new Promise((done) => {
    terminal.stderr.write("Password: ");
    const lines = createInterface({ input: terminal.stdin, output: new PassThrough().resume(), terminal: true });
    lines.once("line", (line) => {
      lines.close();
      terminal.stderr.write("\n");
      done(line);
    });
    lines.once("SIGINT", () => lines.close());
    lines.once("close", () => done(""));
  });

const readPassword = async (options: LoginOptions, terminal: Terminal): Promise<string> => {
  const password = options.password ?? (await (terminal.stdin.isTTY ? askPassword(terminal) : text(terminal.stdin)));
  const line = password.replace(/\r?\n$/, "");
  if (line === "") throw usageError("a password is needed: type it, pipe it in, or give --password");
  return line;
};

const login = async (options: LoginOptions, terminal: Terminal): Promise<void> => {
  const url = resolveGatewayUrl(options.gateway, terminal.env);
  const credentials = { user: options.username, password: await readPassword(options, terminal) };
  await createGatewayClient(url, credentials).call("log in", { path: "/system/info" });
  writeLogin(terminal.env, url, credentials);
  printLine(terminal, `logged in to ${url} as ${credentials.user}; kept in ${loginFile(terminal.env)}`);
};

/** Adds `busker login`: credentials are tried before they are kept. */
export const addLoginCommand = (program: Command, terminal: Terminal): void => {
  const command = program
    .command("login")
    .description("keep the credentials of a gateway, after trying them")
    .option("-u, --username <name>", "the user", adminUser)
    .option("-p, --password <password>", "the password (better: pipe it in, or type it when asked)")
    .action((options: LoginOptions) => login(options, terminal));
  withExample(withGateway(command), "busker login -g https://busker.example.org < password.txt");
};
