import type { ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { constants } from "node:os";
import type { Readable } from "node:stream";
import { GrowingBody } from "../growing-body.ts";
import { createLineSplitter } from "../line-splitter.ts";
import type { StopCause } from "../mode.ts";
import type { Ending, RunParts } from "../modes/run-process.ts";
import { hasExited, signalGroup, spawnGroup } from "../process-group.ts";
import type { PipeSource } from "../output-pipe.ts";
import type { FunctionPlace } from "../resolve-command.ts";
import { openBodyFile } from "./body-file.ts";
import { createMarkerReader, type MarkerReader } from "./marker-reader.ts";

/** The shell that starts processes. */
export const shellPath = "/bin/sh";

/** A shell that starts one process at a time in its own process group. */
export interface ShellServer {
  readonly pid: number;
  /** Runs a command, already quoted, with its variables before it. `onEnd` of `parts` is called exactly once, later. */
  run(command: string, parts: RunParts): (cause: StopCause) => void;
  /** Whether it can run another. */
  isAlive(): boolean;
  readonly child: ChildProcess;
  /** Ends the whole group at once. */
  kill(): void;
  /** Ends the shell when what it runs has ended. */
  close(): void;
}

/** How long a killed group may take to be gone before the caller is answered anyway. */
const killedGraceMs = 500;

/** The descriptor at which the shell has the file of the body. */
const bodyDescriptor = 3;

const signalNames = new Map(
  Object.entries(constants.signals).map(([name, number]) => [number, name as NodeJS.Signals]),
);

/** A shell tells a death by signal as 128 and the signal's number. */
const endingOf = (status: number): Ending => {
  const signal = status > 128 ? signalNames.get(status - 128) : undefined;
  return signal === undefined ? { kind: "exited", code: status, signal: null } : { kind: "exited", code: null, signal };
};

/** What is known of the one call that runs. */
interface Run {
  readonly onStdout: (chunk: Buffer) => void;
  readonly onStderr: (chunk: Buffer) => void;
  /** The shell itself is gone, and all of its group with it. */
  readonly onGone: (ending: Ending) => void;
}

/** What a run needs of its shell. */
interface RunPlace {
  readonly marker: Buffer;
  readonly stdout: Readable;
  readonly kill: () => void;
  /** The run is over. */
  readonly release: () => void;
}

const createRun = (
  { marker, stdout, kill, release }: RunPlace,
  parts: RunParts,
): Run & { readonly stop: (cause: StopCause) => void } => {
  const lines = createLineSplitter(parts.maxLineBytes, parts.log);
  let status: number | undefined;
  let isLogDone = false;
  let cause: Ending | undefined;
  let ended = false;
  let fallback: NodeJS.Timeout | undefined;

  const end = (ending: Ending): void => {
    if (ended) return;
    ended = true;
    clearTimeout(fallback);
    lines.end();
    // The next run's output comes by the same pipe.
    stdout.resume();
    release();
    parts.onEnd(cause ?? ending, output.whole());
  };
  const killFor = (why: Ending): void => {
    if (cause || ended) return;
    cause = why;
    output.drop();
    kill();
    fallback = setTimeout(() => end(why), killedGraceMs);
  };
  const output = new GrowingBody({
    maxBytes: parts.maxOutputBytes,
    onStream: parts.onStream,
    onTooLarge: () => killFor({ kind: "too large" }),
  });
  output.onDrain = () => {
    if (!ended) stdout.resume();
  };
  const finishIfWhole = (): void => {
    if (status !== undefined && isLogDone && !cause) end(endingOf(status));
  };
  const take = (data: Buffer): void => {
    if (!output.write(data)) stdout.pause();
  };
  const outputReader: MarkerReader = createMarkerReader(marker, take);
  const logReader: MarkerReader = createMarkerReader(marker, (data) => lines.push(data));
  return {
    onStdout(chunk) {
      if (status !== undefined) return;
      status = outputReader.push(chunk);
      if (status === undefined) output.expectMore();
      else output.expectEnd();
      finishIfWhole();
    },
    onStderr(chunk) {
      if (isLogDone) return;
      isLogDone = logReader.push(chunk) !== undefined;
      finishIfWhole();
    },
    onGone: end,
    stop: (stopCause) => killFor({ kind: "stopped", cause: stopCause }),
  };
};

/** Starts a shell. `onEnd` is called when it has ended. Throws when no body file can be had. */
export const openShellServer = (place: FunctionPlace, pipes: PipeSource, onEnd: () => void): ShellServer => {
  const body = openBodyFile();
  const outputs = [pipes.open(), pipes.open()] as const;
  const child = spawnGroup({ file: shellPath, args: [] }, place, ["pipe", outputs[0].stdio, outputs[1].stdio, body.fd]);
  const stdout = outputs[0].attach(child, 1);
  const stderr = outputs[1].attach(child, 2);
  const token = randomBytes(16).toString("hex");
  let calls = 0;
  let run: Run | undefined;

  const onGone = (ending: Ending): void => {
    const running = run;
    onEnd();
    running?.onGone(ending);
  };
  child.stdin?.on("error", () => undefined);
  stdout.on("data", (chunk: Buffer) => run?.onStdout(chunk));
  stderr.on("data", (chunk: Buffer) => run?.onStderr(chunk));
  child.once("error", (error) => onGone({ kind: "not started", message: error.message }));
  child.once("exit", (code, signal) => {
    signalGroup(child, "SIGKILL");
    body.close();
    for (const stream of [child.stdin, stdout, stderr]) stream?.destroy();
    onGone({ kind: "exited", code, signal });
  });
  // Its process may end itself at SIGTERM in its own way; the shell outlives it and tells how it ended.
  child.stdin?.write("trap : TERM\n");

  const scriptOf = (command: string, marker: string, { body: input, combineOutput }: RunParts): string => {
    const from = input.length > 0 ? `/proc/self/fd/${bodyDescriptor}` : "/dev/null";
    const errors = combineOutput ? " 2>&1" : "";
    return `${command} <${from} ${bodyDescriptor}<&-${errors}\nprintf '${marker} %d\\n' $?; printf '${marker} 0\\n' >&2\n`;
  };

  return {
    pid: child.pid ?? 0,
    child,
    run(command, parts) {
      const marker = `${token}${++calls}`;
      if (parts.body.length > 0) body.write(parts.body);
      const current = createRun(
        {
          marker: Buffer.from(`${marker} `),
          stdout,
          kill: () => signalGroup(child, "SIGKILL"),
          release: () => (run = undefined),
        },
        parts,
      );
      run = current;
      child.stdin?.write(scriptOf(command, marker, parts));
      return current.stop;
    },
    isAlive: () => !hasExited(child) && child.stdin?.writable === true,
    kill: () => signalGroup(child, "SIGKILL"),
    close: () => child.stdin?.end(),
  };
};
