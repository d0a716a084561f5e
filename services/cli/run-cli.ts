import { Command, CommanderError } from "commander";
import { describeError } from "../runtime/log.ts";
import { addCallsCommand } from "./commands/calls.ts";
import { addDeadCommand } from "./commands/dead.ts";
import { addDeployCommand } from "./commands/deploy.ts";
import { addDescribeCommand } from "./commands/describe.ts";
import { addInvokeCommand } from "./commands/invoke.ts";
import { addKeysCommand } from "./commands/keys.ts";
import { addListCommand } from "./commands/list.ts";
import { addLoginCommand } from "./commands/login.ts";
import { addLogsCommand } from "./commands/logs.ts";
import { addRemoveCommand } from "./commands/remove.ts";
import { addScaleCommand } from "./commands/scale.ts";
import { addScalerCommand } from "./commands/scaler.ts";
import { addUpCommand } from "./commands/up.ts";
import { addVersionCommand, ownVersion } from "./commands/version.ts";
import { addSecretCommand } from "./commands/secret.ts";
import type { Outcome } from "./outcome.ts";
import type { Terminal } from "./terminal.ts";
import { usageExitCode } from "./usage-error.ts";

type AddCommand = (program: Command, terminal: Terminal, outcome: Outcome) => void;

const commands: readonly AddCommand[] = [
  addUpCommand,
  addDeployCommand,
  addInvokeCommand,
  addListCommand,
  addDescribeCommand,
  addLogsCommand,
  addCallsCommand,
  addDeadCommand,
  addScaleCommand,
  addScalerCommand,
  addRemoveCommand,
  addSecretCommand,
  addKeysCommand,
  addLoginCommand,
  addVersionCommand,
];

const createProgram = (terminal: Terminal, outcome: Outcome): Command => {
  const program = new Command("busker")
    .description("Functions on a NATS bus: deploy a folder, call it over HTTP or NATS.")
    .addHelpText("after", "\nExample:\n  busker deploy ./hello && echo you | busker invoke hello")
    .version(ownVersion())
    // An option belongs to the command that it stands behind: `busker calls` and `busker calls show` have some in common.
    .enablePositionalOptions()
    .configureOutput({
      writeOut: (text) => void terminal.stdout.write(text),
      writeErr: (text) => void terminal.stderr.write(text),
    })
    .showHelpAfterError("(--help says more)")
    .exitOverride();
  for (const add of commands) add(program, terminal, outcome);
  return program;
};

// Commander has already written its own errors; those of a command's action are still to be written.
const exitCodeOf = (error: unknown, terminal: Terminal): number => {
  const byCommander = error instanceof CommanderError && error.code.startsWith("commander.");
  if (byCommander) return error.exitCode === 0 ? 0 : usageExitCode;
  terminal.stderr.write(`busker: ${describeError(error)}\n`);
  return error instanceof CommanderError ? error.exitCode : 1;
};

/**
 * Runs one `busker` command line (without node's two arguments) and gives its exit code: 0 done, 1 the operation
 * failed, 2 the command line was not understood.
 */
export const runCli = async (args: readonly string[], terminal: Terminal): Promise<number> => {
  const outcome: Outcome = { exitCode: 0 };
  try {
    await createProgram(terminal, outcome).parseAsync(args, { from: "user" });
    return outcome.exitCode;
  } catch (error) {
    return exitCodeOf(error, terminal);
  }
};
