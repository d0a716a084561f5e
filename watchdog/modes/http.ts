import type { ChildProcess } from "node:child_process";
import type { BodySink } from "../../services/bus/body-sender.ts";
import { answerOfError, errorAnswer, stopAnswer, stopError } from "../answers.ts";
import type { Answer, Call, Mode, StopCall } from "../mode.ts";
import type { ModeParts } from "../mode-parts.ts";
import { describeExit, signalGroup, stopGroups } from "../process-group.ts";
import { resolveCommand } from "../resolve-command.ts";
import { createUpstreamClient, type UpstreamClient } from "../upstream/client.ts";
import type { ExchangeOutcome, ExchangeRequest } from "../upstream/connection.ts";
import { buildRequestHead, type RequestTarget, streamedLength } from "../upstream/request-head.ts";
import { ignoreRest } from "../collect-rest.ts";
import { startHttpChild, type HttpChild } from "./http-child.ts";

/** Methods that may go out twice without doing their work twice (RFC 9110 section 9.2.2). */
const idempotent: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"]);

/** An open function: where its requests go, and by what. */
interface Upstream {
  readonly client: UpstreamClient;
  readonly target: RequestTarget;
}

const openUpstream = ({ config }: ModeParts, { address }: HttpChild): Upstream => {
  const prefix = config.upstreamUrl === undefined ? "" : new URL(config.upstreamUrl).pathname;
  const host = address.host.includes(":") ? `[${address.host}]` : address.host;
  return {
    client: createUpstreamClient(address, config.maxResponseBytes),
    target: { authority: `${host}:${address.port}`, pathPrefix: prefix.replace(/\/+$/, "") },
  };
};

const answerOfOutcome = (outcome: ExchangeOutcome): Answer => {
  if (outcome.kind === "failed") return answerOfError(outcome.error);
  if (outcome.kind === "streaming") {
    const { head, body, start } = outcome;
    return { status: head.status, headers: head.headers, body, stream: start };
  }
  const { head, body } = outcome.response;
  return { status: head.status, headers: head.headers, body };
};

/** Sends one call to the function. */
const proxy = ({ client, target }: Upstream, call: Call, finish: (answer: Answer) => void): StopCall => {
  let isOpen = true;
  let sink: BodySink | undefined;
  const settle = (answer: Answer): void => {
    if (!isOpen) return;
    isOpen = false;
    const { stream } = answer;
    if (!stream) return finish(answer);
    const start = (to: BodySink): void => stream((sink = to));
    finish({ ...answer, stream: start });
  };
  const request: ExchangeRequest = {
    head: buildRequestHead(call, target),
    body: call.body,
    isHead: call.method === "HEAD",
    canStream: call.canStream === true,
    upload: call.rest && { rest: call.rest, bytes: streamedLength(call) },
    isUpgrade: call.upgrade !== undefined,
  };
  const drop = client.exchange(request, idempotent.has(call.method), (outcome) => settle(answerOfOutcome(outcome)));
  return (cause) => {
    if (isOpen) {
      drop();
      settle(stopAnswer(cause));
    } else if (sink && !sink.isOver) {
      drop();
      sink.abort(stopError(cause));
    }
  };
};

const refuse = ({ body, rest }: Call, answer: Answer, finish: (answer: Answer) => void): StopCall => {
  if (rest) ignoreRest(body, rest);
  setImmediate(() => finish(answer));
  return () => undefined;
};

/**
 * A server that is started once; calls go to it over kept connections (of-watchdog's mode `http`). A call at its deadline
 * loses its connection; the server itself goes on, as it may be serving others.
 */
export const createHttpMode = (parts: ModeParts): Mode => {
  let child: ChildProcess | undefined;
  let upstream: Upstream | undefined;
  let stopping = false;

  const onExit = (started: HttpChild): void => {
    signalGroup(started.process, "SIGKILL");
    started.lease.release();
    const reason = `the function's process ended with ${describeExit(started.process.exitCode, started.process.signalCode)}`;
    const client = upstream?.client;
    upstream = undefined;
    client?.close(reason);
    if (!stopping) parts.context.lost(reason);
  };

  return {
    takesStreams: true,
    async start() {
      const started = await startHttpChild(parts, resolveCommand(parts.config.command, parts), (spawned) => {
        child = spawned;
        if (stopping) signalGroup(spawned, "SIGKILL");
      });
      upstream = openUpstream(parts, started);
      started.process.once("exit", () => onExit(started));
    },
    begin(call, finish) {
      if (!upstream)
        return refuse(call, errorAnswer("function_unreachable", "the function's process is not running"), finish);
      try {
        return proxy(upstream, call, finish);
      } catch (error) {
        return refuse(call, answerOfError(error), finish);
      }
    },
    async stop(graceMs) {
      stopping = true;
      if (child) await stopGroups([child], graceMs);
    },
  };
};
