import { parseReplicaSubject, replicaAnyFilter } from "../../../schemas/subjects.ts";
import type { Bus } from "../../bus/connection.ts";
import type { ReplicaSecrets } from "./replica-secrets.ts";

/**
 * Sends replicas the newer values of their secrets whenever they say that they are ready, and all of them when the bus is
 * back: orders of the time before are lost. Gives a function that ends it.
 */
export const catchUpWhenReady = (bus: Bus, secrets: Pick<ReplicaSecrets, "catchUp" | "catchUpAll">): (() => void) => {
  const subscription = bus.nc.subscribe(replicaAnyFilter, {
    callback: (error, message) => {
      const said = error ? undefined : parseReplicaSubject(message.subject);
      if (said?.state === "ready") secrets.catchUp(said.replica);
    },
  });
  const forget = bus.onChange((connected) => {
    if (connected) secrets.catchUpAll();
  });
  return () => {
    subscription.unsubscribe();
    forget();
  };
};
