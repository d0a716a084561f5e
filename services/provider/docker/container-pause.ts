import type { Container } from "dockerode";
import { BuskerError } from "../../../schemas/errors.ts";
import { describeError, type Log } from "../../runtime/log.ts";
import { engineReason } from "../container/engine-error.ts";
import { unlessGone } from "./unless-gone.ts";

/** Whether one container is paused, and who wished that. */
export interface ContainerPause {
  /** Pauses it; rejects with the engine's reason. One that is paused already is as it should be. */
  readonly freeze: () => Promise<void>;
  /** The same in reverse. */
  readonly thaw: () => Promise<void>;
  /** It was seen paused: has it go on, unless that is how we want it. */
  readonly undo: () => void;
}

/** A replica's container that may be paused. */
export interface PausableContainer {
  readonly id: string;
  readonly container: Container;
  /** It was found paused, and is taken for frozen. */
  readonly isFrozen: boolean;
  readonly log: Log;
}

/** A container is paused already, or is not: somebody else did the same by hand. */
const isDone = (error: unknown): boolean => /is (already|not) paused/.test(engineReason(error));

/** Makes it; nothing is asked of the engine yet. */
export const createPause = ({ id, container, isFrozen, log }: PausableContainer): ContainerPause => {
  let wished = isFrozen;
  let work: Promise<unknown> = Promise.resolve();
  // One after the other: what is seen of a pause that has been taken back meanwhile must not undo the next one.
  const inTurn = <T>(act: () => Promise<T>): Promise<T> => {
    const done = work.then(act);
    work = done.catch(() => undefined);
    return done;
  };

  const change = (verb: "freeze" | "thaw", act: () => Promise<unknown>): Promise<void> =>
    inTurn(async () => {
      const before = wished;
      // Before the engine tells of it.
      wished = verb === "freeze";
      try {
        await act();
      } catch (error) {
        if (isDone(error)) return;
        wished = before;
        throw new BuskerError("internal", `the engine could not ${verb} replica ${id}: ${engineReason(error)}`);
      }
    });

  const unpause = async (): Promise<void> => {
    if (wished || !(await container.inspect()).State.Paused) return;
    log.warn("a replica was paused by somebody else; it is made to go on", { replica: id });
    await container.unpause();
  };

  return {
    freeze: () => change("freeze", () => container.pause()),
    thaw: () => change("thaw", () => container.unpause()),
    undo: () => {
      inTurn(() => unlessGone(unpause())).catch((error: unknown) =>
        log.warn("could not have a paused replica go on", { replica: id, error: describeError(error) }),
      );
    },
  };
};
