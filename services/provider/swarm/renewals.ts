import { renewEnrolledUser, type Signer } from "../../bus/mint.ts";
import { describeError, type Log } from "../../runtime/log.ts";
import type { SendOrder } from "../backend.ts";
import type { TaskView } from "./task-view.ts";

/** What renewing needs. */
export interface RenewalsParts {
  readonly signer: Signer;
  readonly ttlMs: number;
  readonly sendOrder: SendOrder;
  /** The replicas that run. */
  readonly all: () => readonly TaskView[];
  readonly log: Log;
}

// Looked at this often in one life: half of it is hit to the twentieth.
const looksPerLife = 20;
const longestLookMs = 60_000;

/**
 * Renews the credentials of replicas at half of their life, by an order. A replica of an earlier provider is renewed at
 * once: nobody knows how old its credentials are.
 */
export const openRenewals = ({ signer, ttlMs, sendOrder, all, log }: RenewalsParts) => {
  const renewedMs = new Map<string, number>();
  const renew = async ({ id, namespace, name }: TaskView): Promise<void> => {
    renewedMs.set(id, Date.now());
    const jwt = await renewEnrolledUser({ signer, namespace, name, replica: id, ttlMs });
    sendOrder(id, { kind: "renew", jwt });
  };
  const look = (): void => {
    const running = all();
    const ids = new Set(running.map(({ id }) => id));
    for (const id of renewedMs.keys()) if (!ids.has(id)) renewedMs.delete(id);
    for (const task of running)
      if (Date.now() - (renewedMs.get(task.id) ?? 0) >= ttlMs / 2)
        renew(task).catch((error: unknown) =>
          log.warn("could not renew a replica's credentials", { replica: task.id, error: describeError(error) }),
        );
  };
  const timer = setInterval(look, Math.min(ttlMs / looksPerLife, longestLookMs));
  return {
    look,
    /** It has credentials of this moment. */
    note: (id: string) => void renewedMs.set(id, Date.now()),
    close: () => clearInterval(timer),
  };
};
