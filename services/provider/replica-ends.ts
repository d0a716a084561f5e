import { type LogLine, replicaEventType } from "../../schemas/events.ts";
import { functionSlots, type FunctionSpec } from "../../schemas/function.ts";
import type { FunctionName } from "../../schemas/names.ts";
import { logSubject, type ReplicaState, replicaSubject } from "../../schemas/subjects.ts";
import type { Bus } from "../bus/connection.ts";
import { publishEvent } from "../bus/events.ts";
import type { ReplicaExit } from "./backend.ts";
import type { ReplicaView } from "./function-state.ts";

/** Tells the bus of a replica's state in the replica's place: before it can speak, and when it has died speechless. */
export const announceFor = (
  bus: Bus,
  replica: ReplicaView,
  state: ReplicaState,
  more: { readonly spec?: FunctionSpec | undefined; readonly reason?: string },
): void => {
  const { namespace, name, id, revision } = replica;
  const data = { revision, slots: more.spec ? functionSlots(more.spec) : 0, inFlight: 0 };
  publishEvent(bus, {
    subject: replicaSubject(state, namespace, name, id),
    type: replicaEventType(state),
    data: more.reason === undefined ? data : { ...data, reason: more.reason },
    // As the replica itself would say it: the record keeps one of the two.
    id: `${id}-${state}`,
  });
};

// The watchdog's own thread for that ends a stuck process by this signal, and nothing else does on purpose.
const overran = "a call overran its deadline and did not let go of the thread (endless loop?); the replica was killed";

const describeSignal = (signal: NodeJS.Signals): string => (signal === "SIGXCPU" ? overran : `killed by ${signal}`);

/** Why a replica ended, as far as the machine knows. */
export const describeExit = ({ code, signal, output }: ReplicaExit): string => {
  const how =
    signal !== null ? describeSignal(signal) : code === null ? "its process is gone" : `ended with exit code ${code}`;
  return output === "" ? how : `${how}: ${output}`;
};

/** The lines that tell of an unasked end; a reason of several lines gives as many. */
export const endLines = (reason: string, at: string): readonly LogLine[] =>
  `[busker] replica ended: ${reason}`.split(/\r?\n/).map((text) => ({ at, stream: "stderr", text }));

/** Says in the replica's own log why it ended: a process that was killed, or died in its own machinery, could not. */
export const logEnd = (bus: Bus, { namespace, name, id }: ReplicaView, reason: string): void => {
  publishEvent(bus, {
    subject: logSubject(namespace, name, id),
    type: "io.busker.log",
    data: { lines: endLines(reason, new Date().toISOString()) },
    id: `${id}-ended`,
  });
};

/** Says something in a replica's own log that the replica cannot know. */
export const logNote = (
  bus: Bus,
  { namespace, name, id }: FunctionName & { readonly id: string },
  text: string,
): void => {
  publishEvent(bus, {
    subject: logSubject(namespace, name, id),
    type: "io.busker.log",
    data: { lines: [{ at: new Date().toISOString(), stream: "stderr", text: `[busker] ${text}` }] },
  });
};

// Far more than a round trip: a server that takes longer has other troubles.
const longestWaitMs = 500;

/**
 * Resolves when everything has been heard that was published before now by processes that have ended: they flushed, so
 * the server has sent it to us before it answers this.
 */
export const hearLastWords = async (bus: Bus): Promise<void> => {
  if (!bus.isConnected()) return;
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, longestWaitMs);
  });
  await Promise.race([bus.nc.flush().catch(() => {}), over]);
  clearTimeout(timer);
};
