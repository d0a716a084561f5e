import type { ChildProcess } from "node:child_process";
import { errorAnswer, messageOf, stopAnswer, textAnswer, tooLargeAnswer } from "../answers.ts";
import type { Answer, Call, Mode, StopCall } from "../mode.ts";
import type { ModeParts } from "../mode-parts.ts";
import { describeExit, spawnGroup, stopGroups } from "../process-group.ts";
import { resolveCommand, type ResolvedCommand } from "../resolve-command.ts";
import { canUseShells, createShellServers } from "../shell/shell-servers.ts";
import { quoteAssignments, quoteWord } from "../shell/shell-words.ts";
import { forkEnvironment, marshalCall } from "./fork-environment.ts";
import { runProcess, type Ending, type RunParts } from "./run-process.ts";

/** The content type of a call's answer: what the fork modes differ in. */
export type ContentTypeOf = (call: Call) => string;

/** A way to get a process for a call and to run the call in it. */
export interface Forker {
  /** Throws what the kernel or Node refuses at once. */
  run(call: Call, parts: RunParts): StopCall;
  stop(graceMs: number): Promise<void>;
}

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

/** Runs one call by a forker and answers it. */
export const beginFork = (parts: ModeParts, forker: Forker, contentTypeOf: ContentTypeOf): Mode["begin"] => {
  const { config, context } = parts;
  return (call, finish) => {
    try {
      return forker.run(call, {
        body: config.marshalRequest ? marshalCall(call) : call.body,
        maxOutputBytes: config.maxResponseBytes,
        maxLineBytes: config.logBufferBytes,
        combineOutput: config.combineOutput,
        log: (line) => context.log("stderr", line, call.id),
        onEnd: (ending, output) => finish(answerOf(ending, output, contentTypeOf(call), config.maxResponseBytes)),
      });
    } catch (error) {
      // Such a process is refused: a header with a NUL, an environment beyond ARG_MAX.
      const answer = errorAnswer("invalid_request", `cannot start a process for this call: ${messageOf(error)}`);
      setImmediate(() => finish(answer));
      return () => undefined;
    }
  };
};

/** Runs each call in the process that `take` gives for it. */
export const createProcessForker = (take: (call: Call, hasInput: boolean) => ChildProcess): Forker => {
  const running = new Set<ChildProcess>();
  return {
    run(call, parts) {
      const child = take(call, parts.body.length > 0);
      running.add(child);
      const onEnd: RunParts["onEnd"] = (ending, output) => {
        running.delete(child);
        parts.onEnd(ending, output);
      };
      return runProcess(child, { ...parts, onEnd });
    },
    stop: (graceMs) => stopGroups([...running], graceMs),
  };
};

/** Forks from Node: works everywhere and for every call, at about 1 ms each. */
const createNodeForker = ({ env, cwd, config }: ModeParts, command: ResolvedCommand): Forker =>
  createProcessForker((call, hasInput) => {
    const place = { env: config.cgiHeaders ? forkEnvironment(env, call) : env, cwd };
    // Without a body /dev/null gives the same end of file and saves a pipe.
    return spawnGroup(command, place, [hasInput ? "pipe" : "ignore", "pipe", "pipe"]);
  });

/** Forks from waiting shells; a call whose variables a shell would not pass on goes to `other`. */
const createShellForker = (parts: ModeParts, command: ResolvedCommand, other: Forker): Forker => {
  const servers = createShellServers({ env: { ...parts.env }, cwd: parts.cwd });
  const words = [command.file, ...command.args].map(quoteWord).join(" ");
  return {
    run(call, runParts) {
      const variables = parts.config.cgiHeaders ? quoteAssignments(forkEnvironment({}, call)) : "";
      if (variables === undefined) return other.run(call, runParts);
      const server = servers.take();
      const onEnd: RunParts["onEnd"] = (ending, output) => {
        servers.giveBack(server);
        runParts.onEnd(ending, output);
      };
      return server.run(variables + words, { ...runParts, onEnd });
    },
    stop: async (graceMs) => {
      await Promise.all([servers.stop(graceMs), other.stop(graceMs)]);
    },
  };
};

const openForker = (parts: ModeParts): Forker => {
  const command = resolveCommand(parts.config.command, parts);
  const plain = createNodeForker(parts, command);
  return canUseShells(parts) ? createShellForker(parts, command, plain) : plain;
};

/** A mode that forks a process for every call. */
export const createForkMode = (parts: ModeParts, contentTypeOf: ContentTypeOf): Mode => {
  let forker: Forker | undefined;
  let begin: Mode["begin"] | undefined;
  return {
    async start() {
      forker = openForker(parts);
      begin = beginFork(parts, forker, contentTypeOf);
    },
    begin(call, finish) {
      if (!begin) throw new Error("begin() was called before start()");
      return begin(call, finish);
    },
    stop: async (graceMs) => forker?.stop(graceMs),
  };
};
