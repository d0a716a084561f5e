import type { ChildProcess } from "node:child_process";
import { errorAnswer, messageOf, stopAnswer, textAnswer, tooLargeAnswer } from "../answers.ts";
import type { Answer, Call, Mode, StopCall } from "../mode.ts";
import type { ModeParts } from "../mode-parts.ts";
import { describeExit, spawnGroup, stopGroups } from "../process-group.ts";
import { resolveCommand, type ResolvedCommand } from "../resolve-command.ts";
import { forkEnvironment, marshalCall } from "./fork-environment.ts";
import { runProcess, type Ending } from "./run-process.ts";

/** The content type of a call's answer: what the fork modes differ in. */
export type ContentTypeOf = (call: Call) => string;

/** Gives the process that will run a call. */
export type TakeProcess = (call: Call) => ChildProcess;

/** The function's own failure is its answer and no error of the platform: status 500, the reason, what it wrote. */
const failedAnswer = (reason: string, output: Buffer): Answer =>
  textAnswer(500, `the function failed: ${reason}\n${output.toString("utf8")}`);

const answerOf = (ending: Ending, output: Buffer, contentType: string, maxBytes: number): Answer => {
  switch (ending.kind) {
    case "exited":
      return ending.code === 0
        ? { status: 200, headers: ["Content-Type", contentType], body: output }
        : failedAnswer(describeExit(ending.code, ending.signal), output);
    case "stopped":
      return stopAnswer(ending.cause);
    case "too large":
      return tooLargeAnswer(maxBytes);
    case "not started":
      return errorAnswer("start_failed", `cannot start the function's process: ${ending.message}`);
  }
};

/** Runs calls in a process each and knows the ones that run. */
export const createForkRunner = (parts: ModeParts, contentTypeOf: ContentTypeOf, take: TakeProcess) => {
  const { config, context } = parts;
  const running = new Set<ChildProcess>();

  const run = (call: Call, finish: (answer: Answer) => void): StopCall => {
    const child = take(call);
    running.add(child);
    return runProcess(child, {
      body: config.marshalRequest ? marshalCall(call) : call.body,
      maxOutputBytes: config.maxResponseBytes,
      maxLineBytes: config.logBufferBytes,
      combineOutput: config.combineOutput,
      log: (line) => context.log("stderr", line, call.id),
      onEnd: (ending, output) => {
        running.delete(child);
        finish(answerOf(ending, output, contentTypeOf(call), config.maxResponseBytes));
      },
    });
  };

  const begin = (call: Call, finish: (answer: Answer) => void): StopCall => {
    try {
      return run(call, finish);
    } catch (error) {
      // The kernel or Node refuses such a process: a header with a NUL, an environment beyond ARG_MAX.
      const answer = errorAnswer("invalid_request", `cannot start a process for this call: ${messageOf(error)}`);
      setImmediate(() => finish(answer));
      return () => undefined;
    }
  };

  return { begin, stop: (graceMs: number) => stopGroups([...running], graceMs) };
};

/** Starts the process of a call, with the call's head in its environment. */
export const spawnForCall = (parts: ModeParts, command: ResolvedCommand, call: Call): ChildProcess => {
  const { env, cwd, config } = parts;
  const place = config.cgiHeaders ? { env: forkEnvironment(env, call), cwd } : { env, cwd };
  const hasInput = call.body.length > 0 || config.marshalRequest;
  // Without a body /dev/null gives the same end of file and saves a pipe.
  return spawnGroup(command, place, [hasInput ? "pipe" : "ignore", "pipe", "pipe"]);
};

/** A mode that forks a process for every call. */
export const createForkMode = (parts: ModeParts, contentTypeOf: ContentTypeOf): Mode => {
  let command: ResolvedCommand = { file: "", args: [] };
  const runner = createForkRunner(parts, contentTypeOf, (call) => spawnForCall(parts, command, call));
  return {
    start: async () => {
      command = resolveCommand(parts.config.command, parts);
    },
    begin: runner.begin,
    stop: runner.stop,
  };
};
