import type { ChildProcess } from "node:child_process";
import { BuskerError } from "../../schemas/errors.ts";
import type { BodySink } from "../../services/bus/body-sender.ts";
import { errorAnswer, messageOf, stopError, stopAnswer, textAnswer, tooLargeAnswer } from "../answers.ts";
import type { Answer, Call, Mode, StopCall } from "../mode.ts";
import type { ModeParts } from "../mode-parts.ts";
import { createPipeSource } from "../output-pipe.ts";
import { describeExit, spawnGroup, stopGroups } from "../process-group.ts";
import { resolveCommand, type ResolvedCommand } from "../resolve-command.ts";
import { canUseShells, createShellServers } from "../shell/shell-servers.ts";
import { quoteAssignments, quoteWord } from "../shell/shell-words.ts";
import { forkEnvironment, marshalCall } from "./fork-environment.ts";
import { type PipedProcess, spawnPiped, withOwnPipes } from "./piped-process.ts";
import { runProcess, type Ending, type RunParts } from "./run-process.ts";
import { ignoreRest } from "../collect-rest.ts";
import { withoutUpgrade } from "./write-input.ts";

/** What the fork modes differ in. */
export interface ForkRules {
  /** The content type of a call's answer. */
  readonly contentTypeOf: (call: Call) => string;
  /** Whether an answer that takes its time goes out as it is written, and a long body in as it comes. */
  readonly streams: boolean;
}

/** Pipes made at a time, three for each process that has them. */
const pipesAtATime = 12;

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

/** How an answer that is already on its way ends; undefined: well. */
const faultOf = (ending: Ending): BuskerError | undefined => {
  switch (ending.kind) {
    case "exited":
      return ending.code === 0
        ? undefined
        : new BuskerError("function_failed", `the function failed: ${describeExit(ending.code, ending.signal)}`);
    case "stopped":
      return stopError(ending.cause);
    case "too large":
    case "not started":
      return new BuskerError("internal", `the function's process was ${ending.kind} after it had answered`);
  }
};

/** Whether a mode's calls come with their bodies streamed: the whole body goes into what `marshal_request` makes. */
export const takesStreams = ({ config }: ModeParts, { streams }: ForkRules): boolean =>
  streams && !config.marshalRequest;

/** Runs one call by a forker and answers it. */
export const beginFork = (parts: ModeParts, forker: Forker, rules: ForkRules): Mode["begin"] => {
  const { config, context } = parts;
  const { maxResponseBytes } = config;
  const run = (call: Call, finish: (answer: Answer) => void): StopCall => {
    let sink: BodySink | undefined;
    let hasEnded = false;
    const endStream = (to: BodySink, ending: Ending): void => {
      const fault = faultOf(ending);
      if (!fault) return to.end();
      // Nobody is told this by a status any more.
      if (ending.kind !== "stopped") context.log("stderr", `the answer was broken off: ${fault.message}`, call.id);
      to.abort(fault);
    };
    const onStream: RunParts["onStream"] = (first, start) => {
      const stream = (to: BodySink): void => start((sink = to));
      finish({ status: 200, headers: ["Content-Type", rules.contentTypeOf(call)], body: first, stream });
    };
    const stop = forker.run(call, {
      body: config.marshalRequest ? marshalCall(call) : call.body,
      rest: call.rest,
      maxOutputBytes: maxResponseBytes,
      maxLineBytes: config.logBufferBytes,
      combineOutput: config.combineOutput,
      log: (line) => context.log("stderr", line, call.id),
      onStream: rules.streams && call.canStream ? onStream : undefined,
      onEnd: (ending, output) => {
        hasEnded = true;
        if (sink) return endStream(sink, ending);
        const fault = ending.kind === "exited" ? faultOf(ending) : undefined;
        if (fault) context.log("stderr", fault.message, call.id);
        finish(answerOf(ending, output, rules.contentTypeOf(call), maxResponseBytes));
      },
    });
    return (cause) => {
      // The process may be gone and its caller still be reading what it has left.
      if (hasEnded) sink?.abort(stopError(cause));
      else stop(cause);
    };
  };
  return (given, finish) => {
    const call = withoutUpgrade(given);
    try {
      return run(call, finish);
    } catch (error) {
      // Such a process is refused: a header with a NUL, an environment beyond ARG_MAX.
      const answer = errorAnswer("invalid_request", `cannot start a process for this call: ${messageOf(error)}`);
      if (call.rest) ignoreRest(call.body, call.rest);
      setImmediate(() => finish(answer));
      return () => undefined;
    }
  };
};

/** Runs each call in the process that `take` gives for it. */
export const createProcessForker = (take: (call: Call, hasInput: boolean) => PipedProcess): Forker => {
  const running = new Set<ChildProcess>();
  return {
    run(call, parts) {
      const taken = take(call, parts.body.length > 0);
      const { child } = taken;
      running.add(child);
      const onEnd: RunParts["onEnd"] = (ending, output) => {
        running.delete(child);
        parts.onEnd(ending, output);
      };
      return runProcess(taken, { ...parts, onEnd });
    },
    stop: (graceMs) => stopGroups([...running], graceMs),
  };
};

/** Forks from Node: works everywhere and for every call, at about 1 ms each. */
const createNodeForker = ({ env, cwd, config }: ModeParts, command: ResolvedCommand): Forker => {
  const pipes = createPipeSource(pipesAtATime);
  const forker = createProcessForker((call, hasInput) => {
    const place = { env: config.cgiHeaders ? forkEnvironment(env, call) : env, cwd };
    // What a script can do with a short body that comes from a shell it must be able to do with a long one.
    if (call.rest) return spawnPiped(command, place, pipes);
    // Without a body /dev/null gives the same end of file and saves a pipe.
    return withOwnPipes(spawnGroup(command, place, [hasInput ? "pipe" : "ignore", "pipe", "pipe"]));
  });
  return {
    run: (call, runParts) => forker.run(call, runParts),
    stop: async (graceMs) => {
      await forker.stop(graceMs);
      pipes.close();
    },
  };
};

/**
 * Forks from waiting shells; a call goes to `other` when a shell would not pass its variables on, or when its body is not
 * whole, which is what a shell takes.
 */
const createShellForker = (parts: ModeParts, command: ResolvedCommand, other: Forker): Forker => {
  const servers = createShellServers({ env: { ...parts.env }, cwd: parts.cwd });
  const words = [command.file, ...command.args].map(quoteWord).join(" ");
  return {
    run(call, runParts) {
      if (call.rest) return other.run(call, runParts);
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
export const createForkMode = (parts: ModeParts, rules: ForkRules): Mode => {
  let forker: Forker | undefined;
  let begin: Mode["begin"] | undefined;
  return {
    takesStreams: takesStreams(parts, rules),
    async start() {
      forker = openForker(parts);
      begin = beginFork(parts, forker, rules);
    },
    begin(call, finish) {
      if (!begin) throw new Error("begin() was called before start()");
      return begin(call, finish);
    },
    stop: async (graceMs) => forker?.stop(graceMs),
  };
};
