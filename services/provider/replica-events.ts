import type { EventData } from "../../schemas/events.ts";
import { formatFunctionName, type FunctionName } from "../../schemas/names.ts";
import { demandSubject, parseReplicaSubject, replicaAnyFilter } from "../../schemas/subjects.ts";
import type { Bus } from "../bus/connection.ts";
import { publishEvent, readEvent } from "../bus/events.ts";
import type { Reconciler } from "./reconciler.ts";

/** Hears what replicas say of themselves and plans again when one has changed. Gives a function that stops it. */
export const followReplicas = (bus: Bus, reconciler: Pick<Reconciler, "find" | "hear" | "reconcile">): (() => void) => {
  const hear = (subject: string, data: EventData["io.busker.replica.ready"]): void => {
    const said = parseReplicaSubject(subject);
    const state = said && reconciler.find(formatFunctionName(said));
    const replica = said && state?.find(said.replica);
    if (!state || !replica) return;
    const before = replica.state;
    // Its end counts when its process has ended: until then it may still hold what the next one needs.
    if (said.state === "exited") replica.lastWords ??= { reason: data.reason };
    else if (said.state !== "starting") state.enter(replica, said.state, Date.now());
    reconciler.hear(replica, said.state, data.order);
    if (replica.state !== before) reconciler.reconcile(state);
  };
  const subscription = bus.nc.subscribe(replicaAnyFilter, {
    callback: (error, message) => {
      if (!error) hear(message.subject, readEvent<"io.busker.replica.ready">(message).data);
    },
  });
  return () => subscription.unsubscribe();
};

/** Asks the replicas of a function that are ready to say so: those that were, before this provider came. */
export const askWhoIsReady = (bus: Bus, { namespace, name }: FunctionName): void => {
  publishEvent(bus, { subject: demandSubject(namespace, name), type: "io.busker.demand", data: { waiting: 1 } });
};
