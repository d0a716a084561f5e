import { setTimeout as wait } from "node:timers/promises";
import type Docker from "dockerode";
import { platformLabel } from "../container/platform-id.ts";
import { describeError, type Log } from "../../runtime/log.ts";

const actions = ["die", "oom", "destroy", "pause", "disconnect"] as const;

/** What an engine tells of a container. */
export interface ContainerEvent {
  /** `disconnect`: from a network, which is told of containers of anybody. */
  readonly action: (typeof actions)[number];
  readonly containerId: string;
  /** Its labels, and `exitCode` where it has died; not where it was disconnected. */
  readonly attributes: Readonly<Record<string, string>>;
}

/** What follows an engine. */
export interface EngineEventsOptions {
  readonly docker: Docker;
  readonly platform: string;
  readonly onEvent: (event: ContainerEvent) => void;
  /** Looks at what there is: once the events come, and from time to time. Rejects when the engine does not answer. */
  readonly look: () => Promise<void>;
  readonly log: Log;
}

interface RawEvent {
  readonly Action?: string;
  readonly Actor?: { readonly ID?: string; readonly Attributes?: Readonly<Record<string, string>> };
}

const parseEvent = (line: string, platform: string): ContainerEvent | undefined => {
  const { Action, Actor } = JSON.parse(line) as RawEvent;
  const action = actions.find((name) => name === Action);
  const attributes = Actor?.Attributes ?? {};
  // Told of the network, whose labels are not among the attributes.
  if (action === "disconnect") return { action, containerId: attributes["container"] ?? "", attributes: {} };
  return action && attributes[platformLabel] === platform
    ? { action, containerId: Actor?.ID ?? "", attributes }
    : undefined;
};

const readLines = async (stream: NodeJS.ReadableStream, onLine: (line: string) => void): Promise<void> => {
  let rest = "";
  for await (const chunk of stream) {
    const lines = (rest + String(chunk)).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line.trim() !== "") onLine(line);
  }
};

// Events tell at once; this finds what a connection has kept from us that looks open and is not.
const lookEveryMs = 15_000;
const firstWaitMs = 50;
const longestWaitMs = 2000;

/** Follows a platform's containers until it is closed, through every restart of the engine. Gives what closes it. */
export const followEngine = ({ docker, platform, onEvent, look, log }: EngineEventsOptions): (() => void) => {
  const closing = new AbortController();

  const follow = async (onOpen: () => void): Promise<void> => {
    const broken = new AbortController();
    const abortSignal = AbortSignal.any([closing.signal, broken.signal]);
    const filters = JSON.stringify({ type: ["container", "network"], event: actions });
    const stream = await docker.getEvents({ filters, abortSignal });
    const lookAgain = (): Promise<void> => look().catch(() => broken.abort());
    const timer = setInterval(() => void lookAgain(), lookEveryMs);
    try {
      onOpen();
      void lookAgain();
      await readLines(stream, (line) => {
        const event = parseEvent(line, platform);
        if (event) onEvent(event);
      });
    } finally {
      clearInterval(timer);
    }
  };

  const run = async (): Promise<void> => {
    let waitMs = firstWaitMs;
    while (!closing.signal.aborted) {
      const reason = await follow(() => {
        if (waitMs > firstWaitMs) log.info("the engine answers again", {});
        waitMs = firstWaitMs;
      }).then(() => "it closed the connection", describeError);
      if (closing.signal.aborted) return;
      if (waitMs === firstWaitMs) log.warn("the engine's events have ended; trying again", { reason });
      await wait(waitMs, undefined, { signal: closing.signal }).catch(() => undefined);
      waitMs = Math.min(waitMs * 2, longestWaitMs);
    }
  };
  void run();
  return () => closing.abort();
};
