import type Docker from "dockerode";
import { describeError, type Log } from "../../runtime/log.ts";
import { unlessGone } from "./unless-gone.ts";

/** Removes containers. */
export interface Removals {
  /** Removes a container at once, whatever it is at. Never rejects: what cannot be removed now is left for another look. */
  readonly remove: (containerId: string) => Promise<void>;
  /** Resolves when all is removed that is being removed now. */
  readonly untilRemoved: () => Promise<void>;
}

/** Opens them on an engine. */
export const openRemovals = (docker: Docker, log: Log): Removals => {
  const underWay = new Set<Promise<void>>();
  return {
    remove: (containerId) => {
      const removal = unlessGone(docker.getContainer(containerId).remove({ force: true, v: true }))
        .then(() => {})
        .catch((error: unknown) =>
          log.warn("could not remove a container", { container: containerId, error: describeError(error) }),
        )
        .finally(() => underWay.delete(removal));
      underWay.add(removal);
      return removal;
    },
    untilRemoved: async () => {
      await Promise.all(underWay);
    },
  };
};
