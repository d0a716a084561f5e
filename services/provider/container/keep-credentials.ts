import type { ReplicaOrder } from "../../../schemas/invocation.ts";
import type { ReplicaName } from "../../bus/permissions.ts";
import { describeError, type Log } from "../../runtime/log.ts";
import type { Credentials } from "../replica-credentials.ts";

/** Tells a replica something. */
export type SendOrder = (replica: string, order: ReplicaOrder) => void;

/** A replica that keeps its credentials in memory. */
export interface CredentialHolder extends ReplicaName {
  /** Public nkey that its credentials are for. */
  readonly key: string;
}

/** Renews the credentials of replicas that keep them in memory. */
export interface HeldCredentials {
  readonly keep: (holder: CredentialHolder) => void;
  /** Renews at once: nobody knows when those of an earlier provider run out, or what a frozen one has missed. */
  readonly renew: (id: string) => void;
  readonly forget: (id: string) => void;
  readonly close: () => void;
}

// A replica goes over to its next credentials at three quarters of a life. An order that is lost, because the replica was
// not connected at that moment, is followed by another before that.
const renewalsPerLife = 4;
const looksPerLife = 20;
const longestLookMs = 60_000;

/** Opens the keeper: it sends the order `renew` several times in a life. */
export const openHeldCredentials = (
  { renew, ttlMs }: Pick<Credentials, "renew" | "ttlMs">,
  sendOrder: SendOrder,
  log: Log,
): HeldCredentials => {
  const held = new Map<string, { readonly holder: CredentialHolder; renewedMs: number }>();

  const renewNow = (id: string): void => {
    const entry = held.get(id);
    if (!entry) return;
    entry.renewedMs = Date.now();
    renew(entry.holder, entry.holder.key).then(
      (jwt) => held.has(id) && sendOrder(id, { kind: "renew", jwt }),
      (error: unknown) =>
        log.warn("could not renew a replica's credentials", { replica: id, error: describeError(error) }),
    );
  };
  const look = (): void => {
    for (const [id, { renewedMs }] of held) if (Date.now() - renewedMs >= ttlMs / renewalsPerLife) renewNow(id);
  };
  const timer = setInterval(look, Math.min(ttlMs / looksPerLife, longestLookMs));
  return {
    keep: (holder) => void held.set(holder.replica, { holder, renewedMs: Date.now() }),
    renew: renewNow,
    forget: (id) => void held.delete(id),
    close: () => clearInterval(timer),
  };
};
