import type Docker from "dockerode";
import { describeError, type Log } from "../../runtime/log.ts";
import { stoppingName } from "./listed-containers.ts";
import { unlessGone } from "./unless-gone.ts";

/** What was asked of one container. */
export interface ContainerWishes {
  /** Lets it finish what it has and end. */
  readonly stop: () => void;
  readonly kill: () => void;
  /** Asks again for what the engine has not heard: it was away. */
  readonly repeat: () => void;
}

/** A replica's container that something may be asked of. */
export interface WishedContainer {
  readonly docker: Docker;
  readonly id: string;
  readonly containerId: string;
  /** Its name says already that it was told to stop. */
  readonly isMarked: boolean;
  readonly log: Log;
}

/** Nothing has been asked of it yet. */
export const createWishes = ({ docker, id, containerId, isMarked, log }: WishedContainer): ContainerWishes => {
  const container = docker.getContainer(containerId);
  const unheard = new Set<"stop" | "kill">();
  const ask = (wish: "stop" | "kill", act: () => Promise<unknown>): void => {
    unheard.delete(wish);
    act().catch((error: unknown) => {
      unheard.add(wish);
      log.warn(`could not ${wish} a replica`, { replica: id, error: describeError(error) });
    });
  };
  const marked = { done: isMarked };
  // An engine refuses to give a container the name that it has.
  const mark = async (): Promise<void> => {
    if (!marked.done) marked.done = await unlessGone(container.rename({ name: stoppingName(id) }));
  };
  const stop = (): void => ask("stop", () => Promise.all([unlessGone(container.kill({ signal: "SIGTERM" })), mark()]));
  const kill = (): void => ask("kill", () => unlessGone(container.kill()));
  return {
    stop,
    kill,
    repeat: () => {
      if (unheard.has("stop")) stop();
      if (unheard.has("kill")) kill();
    },
  };
};
