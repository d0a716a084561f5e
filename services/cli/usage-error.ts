import { CommanderError } from "commander";

/** The exit code of a command that was not understood. */
export const usageExitCode = 2;

/** An error of the one who typed the command: exit code 2, and `message` says which rule it broke. */
export const usageError = (message: string): CommanderError =>
  new CommanderError(usageExitCode, "busker.usage", message);
