import type { Readable } from "node:stream";
import type { IncomingBody } from "../../services/bus/body-receiver.ts";
import { type BeginStream, GrowingBody } from "../growing-body.ts";
import { createLineSplitter } from "../line-splitter.ts";
import type { StopCause } from "../mode.ts";
import { hasExited, signalGroup } from "../process-group.ts";
import type { PipedProcess } from "./piped-process.ts";
import { writeInput } from "./write-input.ts";

/** How the process of one call ended: the first cause counts. */
export type Ending =
  | { readonly kind: "exited"; readonly code: number | null; readonly signal: NodeJS.Signals | null }
  | { readonly kind: "stopped"; readonly cause: StopCause }
  | { readonly kind: "too large" }
  | { readonly kind: "not started"; readonly message: string };

/** What one run is made of. */
export interface RunParts {
  readonly body: Uint8Array;
  /** What follows `body`. */
  readonly rest?: IncomingBody | undefined;
  /** Bounds an output that is not streamed. */
  readonly maxOutputBytes: number;
  readonly maxLineBytes: number;
  /** Whether stderr is part of the output; when not, its lines go to `log`. */
  readonly combineOutput: boolean;
  readonly log: (line: string) => void;
  /** Takes an output that is not whole in time, later than the run began; absent: it is collected. */
  readonly onStream?: BeginStream | undefined;
  /** `output` is empty when it was streamed; all of it has been written then. */
  readonly onEnd: (ending: Ending, output: Buffer) => void;
}

/** How long a killed process may take to be gone before its caller is answered anyway (a process stuck in the kernel). */
const killedGraceMs = 500;

/** Turns of the event loop without output, after the exit, that mean the pipes are empty. */
const quietTurns = 2;

/** Turns after which an escaped process that keeps on writing is no longer listened to. */
const maxTurns = 64;

/**
 * Feeds one call to a process and takes its output, until the leader exits, is stopped, or writes too much. Whatever the
 * process has started dies with it, and nothing waits for a grandchild that holds the output open. Gives the stop
 * function; `onEnd` is called exactly once, later.
 */
export const runProcess = (
  { child, stdin, stdout, stderr }: PipedProcess,
  parts: RunParts,
): ((cause: StopCause) => void) => {
  const lines = createLineSplitter(parts.maxLineBytes, parts.log);
  const outputs: Readable[] = [];
  let openStreams = 0;
  let exited = false;
  let ended = false;
  let isHeld = false;
  let turns = 0;
  let nextLook: NodeJS.Immediate | undefined;
  let cause: Ending | undefined;
  let fallback: NodeJS.Timeout | undefined;

  const end = (): void => {
    if (ended) return;
    ended = true;
    clearTimeout(fallback);
    for (const stream of [stdin, stdout, stderr]) stream?.destroy();
    lines.end();
    parts.onEnd(cause ?? { kind: "exited", code: child.exitCode, signal: child.signalCode }, output.whole());
  };

  const kill = (why: Ending): void => {
    if (cause || ended) return;
    cause = why;
    output.drop();
    // Only what it has written is still here, and not wanted.
    if (exited) return end();
    signalGroup(child, "SIGKILL");
    fallback = setTimeout(end, killedGraceMs);
  };

  const output = new GrowingBody({
    maxBytes: parts.maxOutputBytes,
    onStream: parts.onStream,
    onTooLarge: () => kill({ kind: "too large" }),
  });

  const take = (chunk: Buffer): void => {
    if (output.write(chunk)) {
      if (!exited) output.expectMore();
      return;
    }
    // Again for each piece: Node itself lets every pipe of a process flow at its exit.
    isHeld = true;
    for (const stream of outputs) stream.pause();
  };

  output.onDrain = () => {
    isHeld = false;
    if (ended) return;
    for (const stream of outputs) stream.resume();
    clearImmediate(nextLook);
    if (exited) awaitQuiet(-1, heard);
  };

  // Between two turns the loop looks at every pipe once, so what was written before the exit has been read by then.
  let heard = 0;
  const listen = (stream: Readable, onData: (chunk: Buffer) => void): void => {
    openStreams++;
    stream.on("data", (chunk: Buffer) => {
      heard++;
      onData(chunk);
    });
    stream.on("error", () => undefined);
    stream.on("close", () => {
      if (--openStreams === 0 && exited) end();
    });
  };

  /** Ends when nothing more comes. A pipe that is held says nothing: this goes on when it flows again. */
  function awaitQuiet(quiet: number, before: number): void {
    if (ended || isHeld) return;
    if (quiet === quietTurns || turns === maxTurns) return end();
    turns++;
    nextLook = setImmediate(() => awaitQuiet(heard === before ? quiet + 1 : 0, heard));
  }

  const onExit = (): void => {
    exited = true;
    output.expectEnd();
    signalGroup(child, "SIGKILL");
    if (cause || openStreams === 0) return end();
    awaitQuiet(-1, heard);
  };

  if (stdout) outputs.push(stdout);
  if (stderr && parts.combineOutput) outputs.push(stderr);
  if (stdout) listen(stdout, take);
  if (stderr) listen(stderr, parts.combineOutput ? take : (chunk) => lines.push(chunk));
  child.on("error", (error) => {
    cause ??= { kind: "not started", message: error.message };
    if (child.pid === undefined) end();
  });
  if (hasExited(child) && child.pid !== undefined) setImmediate(onExit);
  else child.once("exit", onExit);
  const onBroken = (): void => kill({ kind: "stopped", cause: "cancelled" });
  if (stdin) writeInput(stdin, { body: parts.body, rest: parts.rest, onBroken });
  return (stop) => kill({ kind: "stopped", cause: stop });
};
