import type { Bus } from "../bus/connection.ts";
import type { Log } from "../runtime/log.ts";
import { afterCrash } from "./back-off.ts";
import type { ReplicaExit } from "./backend.ts";
import type { FunctionState, ReplicaView } from "./function-state.ts";
import { announceFor, describeExit, hearLastWords, logEnd } from "./replica-ends.ts";

const noteCrash = (
  state: FunctionState,
  replica: ReplicaView,
  signal: NodeJS.Signals | null,
  message: string,
): void => {
  const nowMs = Date.now();
  const readyForMs = replica.readyMs === undefined ? 0 : nowMs - replica.readyMs;
  state.backOff = afterCrash(state.backOff, { revision: replica.revision, signal, readyForMs, nowMs });
  if (signal !== "SIGXCPU") state.problem = { message, atMs: nowMs };
};

/** Tells whom it concerns that a replica has ended, and notes a crash where nobody had asked for it. Gives why. */
export const settleEnd = async (
  { bus, log }: { readonly bus: Bus; readonly log: Log },
  state: FunctionState,
  replica: ReplicaView,
  exit: ReplicaExit,
): Promise<string> => {
  const wasFrozen = replica.state === "frozen";
  state.enter(replica, "exited", Date.now());
  // One that was killed said nothing, and its callers wait for this.
  if (exit.signal === null && !replica.lastWords) await hearLastWords(bus);
  // One that was frozen had no call: its end on our wish is as good as a clean one.
  const isClean = (exit.code === 0 && exit.signal === null) || (wasFrozen && replica.stopping);
  const message = exit.reason ?? replica.lastWords?.reason ?? describeExit(exit);
  if (!replica.lastWords)
    announceFor(bus, replica, "exited", {
      spec: state.record?.spec,
      ...(isClean && replica.stopping ? {} : { reason: message }),
    });
  // A clean end of which the watchdog said nothing is the function's `process.exit(0)`: nobody asked for that one.
  if (!replica.stopping && !(isClean && replica.lastWords)) {
    // What ends a frozen one is not its function's doing, and says nothing of the next start.
    if (!wasFrozen) noteCrash(state, replica, exit.signal, message);
    // What follows the first line of last words are the function's own lines, which are in its log already.
    logEnd(bus, replica, replica.lastWords ? (message.split("\n")[0] ?? "") : message);
    log.warn("a replica ended", { function: state.key, replica: replica.id, reason: message });
  }
  return message;
};
