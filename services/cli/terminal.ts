import type { Readable, Writable } from "node:stream";
import type { Environment } from "../runtime/config.ts";

/** What a command reads and writes: the process's own, or streams in memory in a test. */
export interface Terminal {
  readonly env: Environment;
  readonly stdin: Readable & { readonly isTTY?: boolean };
  readonly stdout: Writable;
  readonly stderr: Writable;
}

/** Writes a line to standard output. */
export const printLine = (terminal: Terminal, line = ""): void => void terminal.stdout.write(`${line}\n`);

/** Writes a line for the person, not for a program that reads our output: to standard error. */
export const printNote = (terminal: Terminal, line: string): void => void terminal.stderr.write(`busker: ${line}\n`);

/** Writes a value as indented JSON to standard output: what `--json` means. */
export const printJson = (terminal: Terminal, value: unknown): void =>
  printLine(terminal, JSON.stringify(value, undefined, 2));

/** Writes rows as columns under `head`, each as wide as its widest cell. */
export const printTable = (terminal: Terminal, head: readonly string[], rows: readonly (readonly string[])[]): void => {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  for (const row of all)
    printLine(
      terminal,
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    );
};
