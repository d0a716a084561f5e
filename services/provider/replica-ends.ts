import { replicaEventType } from "../../schemas/events.ts";
import { functionSlots, type FunctionSpec } from "../../schemas/function.ts";
import { type ReplicaState, replicaSubject } from "../../schemas/subjects.ts";
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

/** Why a replica ended, as far as the machine knows. */
export const describeExit = ({ code, signal, output }: ReplicaExit): string => {
  const how =
    signal !== null ? `killed by ${signal}` : code === null ? "its process is gone" : `ended with exit code ${code}`;
  return output === "" ? how : `${how}: ${output}`;
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
