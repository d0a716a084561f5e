import type { ChildProcess } from "node:child_process";
import type { Readable } from "node:stream";
import { createLineSplitter } from "../line-splitter.ts";
import type { StopCause } from "../mode.ts";
import { hasExited, signalGroup } from "../process-group.ts";

/** How the process of one call ended: the first cause counts. */
export type Ending =
  | { readonly kind: "exited"; readonly code: number | null; readonly signal: NodeJS.Signals | null }
  | { readonly kind: "stopped"; readonly cause: StopCause }
  | { readonly kind: "too large" }
  | { readonly kind: "not started"; readonly message: string };

/** What one run is made of. */
export interface RunParts {
  readonly body: Uint8Array;
  readonly maxOutputBytes: number;
  readonly maxLineBytes: number;
  /** Whether stderr is part of the output; when not, its lines go to `log`. */
  readonly combineOutput: boolean;
  readonly log: (line: string) => void;
  readonly onEnd: (ending: Ending, output: Buffer) => void;
}

/** How long a killed process may take to be gone before its caller is answered anyway (a process stuck in the kernel). */
const killedGraceMs = 500;

/** Turns of the event loop without output, after the exit, that mean the pipes are empty. */
const quietTurns = 2;

/** Turns after which an escaped process that keeps on writing is no longer listened to. */
const maxTurns = 64;

const writeBody = (child: ChildProcess, body: Uint8Array): void => {
  if (!child.stdin) return;
  // EPIPE: the function did not read its whole input, which is its right.
  child.stdin.on("error", () => undefined);
  child.stdin.end(body);
};

/**
 * Feeds one call to a process and collects its output, until the leader exits, is stopped, or writes too much. Whatever
 * the process has started dies with it, and nothing waits for a grandchild that holds the output open. Gives the stop
 * function; `onEnd` is called exactly once, later.
 */
export const runProcess = (child: ChildProcess, parts: RunParts): ((cause: StopCause) => void) => {
  const chunks: Buffer[] = [];
  const lines = createLineSplitter(parts.maxLineBytes, parts.log);
  let bytes = 0;
  let openStreams = 0;
  let exited = false;
  let ended = false;
  let cause: Ending | undefined;
  let fallback: NodeJS.Timeout | undefined;

  const end = (): void => {
    if (ended) return;
    ended = true;
    clearTimeout(fallback);
    for (const stream of [child.stdin, child.stdout, child.stderr]) stream?.destroy();
    lines.end();
    parts.onEnd(
      cause ?? { kind: "exited", code: child.exitCode, signal: child.signalCode },
      Buffer.concat(chunks, bytes),
    );
  };

  const kill = (why: Ending): void => {
    if (cause || ended) return;
    cause = why;
    chunks.length = bytes = 0;
    signalGroup(child, "SIGKILL");
    fallback = setTimeout(end, killedGraceMs);
  };

  const take = (chunk: Buffer): void => {
    if (cause) return;
    bytes += chunk.length;
    chunks.push(chunk);
    if (bytes > parts.maxOutputBytes) kill({ kind: "too large" });
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

  const awaitQuiet = (turn: number, quiet: number, before: number): void => {
    if (ended) return;
    if (quiet === quietTurns || turn === maxTurns) return end();
    setImmediate(() => awaitQuiet(turn + 1, heard === before ? quiet + 1 : 0, heard));
  };

  const onExit = (): void => {
    exited = true;
    signalGroup(child, "SIGKILL");
    if (cause || openStreams === 0) return end();
    awaitQuiet(0, -1, heard);
  };

  if (child.stdout) listen(child.stdout, take);
  if (child.stderr) listen(child.stderr, parts.combineOutput ? take : (chunk) => lines.push(chunk));
  child.on("error", (error) => {
    cause ??= { kind: "not started", message: error.message };
    if (child.pid === undefined) end();
  });
  if (hasExited(child) && child.pid !== undefined) setImmediate(onExit);
  else child.once("exit", onExit);
  writeBody(child, parts.body);
  return (stop) => kill({ kind: "stopped", cause: stop });
};
