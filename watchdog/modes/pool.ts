import type { ChildProcess } from "node:child_process";
import type { Mode } from "../mode.ts";
import type { ModeParts } from "../mode-parts.ts";
import { describeExit, hasExited, signalGroup, spawnGroup, stopGroups } from "../process-group.ts";
import { resolveCommand, type ResolvedCommand } from "../resolve-command.ts";
import { beginFork, createProcessForker, type ForkRules, takesStreams } from "./fork.ts";
import { withOwnPipes } from "./piped-process.ts";
import { defaultContentType } from "./streaming.ts";

/** Pause before another process is started ahead, after one that did not wait for its call; doubled each time. */
const firstPauseMs = 50;
const longestPauseMs = 5000;

/** Keeps processes that wait on stdin. */
const createWaitingProcesses = (parts: ModeParts) => {
  const { config, context, env, cwd } = parts;
  const waiting: ChildProcess[] = [];
  let command: ResolvedCommand = { file: "", args: [] };
  let pauseMs = 0;
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;

  const spawn = (): ChildProcess => spawnGroup(command, { env, cwd }, "pipe");

  const forget = (child: ChildProcess): boolean => {
    const at = waiting.indexOf(child);
    if (at >= 0) waiting.splice(at, 1);
    return at >= 0;
  };

  const onEarlyEnd = (child: ChildProcess, how: string): void => {
    if (!forget(child)) return;
    signalGroup(child, "SIGKILL");
    for (const stream of child.stdio) stream?.destroy();
    if (stopped) return;
    if (pauseMs === 0) context.log("stderr", `a process started ahead ended (${how}) before it had a call`);
    pauseMs = Math.min(Math.max(firstPauseMs, pauseMs * 2), longestPauseMs);
    clearTimeout(timer);
    timer = setTimeout(fill, pauseMs);
  };

  const add = (): void => {
    const child = spawn();
    waiting.push(child);
    child.stdin?.on("error", () => undefined);
    child.once("exit", (code, signal) => onEarlyEnd(child, describeExit(code, signal)));
    child.once("error", (error) => onEarlyEnd(child, error.message));
  };

  function fill(): void {
    while (!stopped && waiting.length < config.poolSize) add();
  }

  /** A refill waits for the turn after the call's own work, and for the pause after an early end. */
  const refill = (): void => {
    if (pauseMs === 0) setImmediate(fill);
  };

  return {
    open: (): void => {
      command = resolveCommand(config.command, parts);
      fill();
    },
    take: (): ChildProcess => {
      let child = waiting.shift();
      while (child && hasExited(child)) child = waiting.shift();
      // One that did wait shows that the program does, and ends the caution after early ends.
      if (child) pauseMs = 0;
      refill();
      return child ?? spawn();
    },
    close: (graceMs: number): Promise<void> => {
      stopped = true;
      clearTimeout(timer);
      return stopGroups(waiting.splice(0), graceMs);
    },
  };
};

/**
 * Processes started ahead that wait on stdin: each serves one call and is replaced. For programs that take long to start.
 * Bodies stream as in mode streaming. The call's head is not in their environment, which was made before it; `marshal_request` puts it into the input.
 */
export const createPoolMode = (parts: ModeParts): Mode => {
  const processes = createWaitingProcesses(parts);
  const contentType = parts.config.contentType ?? defaultContentType;
  const rules: ForkRules = { contentTypeOf: () => contentType, streams: true };
  const forker = createProcessForker(() => withOwnPipes(processes.take()));
  return {
    takesStreams: takesStreams(parts, rules),
    start: async () => processes.open(),
    begin: beginFork(parts, forker, rules),
    stop: async (graceMs) => {
      await Promise.all([processes.close(graceMs), forker.stop(graceMs)]);
    },
  };
};
