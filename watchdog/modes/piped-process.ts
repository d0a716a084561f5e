import type { ChildProcess } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import type { PipeSource } from "../output-pipe.ts";
import { spawnGroup } from "../process-group.ts";
import type { FunctionPlace, ResolvedCommand } from "../resolve-command.ts";

/** A process and our ends of its pipes. */
export interface PipedProcess {
  readonly child: ChildProcess;
  readonly stdin: Writable | null;
  readonly stdout: Readable | null;
  readonly stderr: Readable | null;
}

/** A process with the pipes that Node has made for it. */
export const withOwnPipes = (child: ChildProcess): PipedProcess => {
  const { stdin, stdout, stderr } = child;
  return { child, stdin, stdout, stderr };
};

/** Starts a process that has real pipes where it reads and writes. Throws as `spawnGroup` does, and leaves nothing open. */
export const spawnPiped = (command: ResolvedCommand, place: FunctionPlace, pipes: PipeSource): PipedProcess => {
  const input = pipes.openInput();
  const output = pipes.open();
  const log = pipes.open();
  const start = (): ChildProcess => {
    try {
      return spawnGroup(command, place, [input.stdio, output.stdio, log.stdio]);
    } catch (error) {
      for (const pipe of [input, output, log]) pipe.discard();
      throw error;
    }
  };
  const child = start();
  return { child, stdin: input.attach(child), stdout: output.attach(child, 1), stderr: log.attach(child, 2) };
};
