import { randomUUID } from "node:crypto";
import { BuskerError } from "../../schemas/errors.ts";
import { type EventData, type FailedOutcome, functionEventType, type Outcome } from "../../schemas/events.ts";
import type { FunctionName } from "../../schemas/names.ts";
import { functionSubject, functionVerbFilter, outcomeVerbs, type WishVerb } from "../../schemas/subjects.ts";
import type { Bus } from "../bus/connection.ts";
import { readEvent } from "../bus/events.ts";
import { publishDurably } from "../bus/streams.ts";

/** Publishes wishes about functions and awaits what becomes of them. */
export interface Wishes {
  /**
   * Resolves with the outcome; rejects with the error the provider reports, or with `provider_unavailable` when none
   * came in time: the wish stays recorded and is carried out when a provider is back.
   */
  readonly make: <V extends WishVerb>(
    verb: V,
    name: FunctionName,
    data: EventData[`io.busker.function.${V}`],
  ) => Promise<Outcome>;
  readonly stop: () => void;
}

interface Waiter {
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: BuskerError) => void;
}

const noOutcome = (verb: WishVerb, name: FunctionName, timeoutMs: number): BuskerError =>
  new BuskerError(
    "provider_unavailable",
    `no provider reported an outcome of "${verb} ${name.name}.${name.namespace}" within ${timeoutMs} ms; the wish is recorded and will be carried out when one is back`,
  );

/** Listens for outcomes from now on. */
export const openWishes = (bus: Bus, timeoutMs: number): Wishes => {
  const waiters = new Map<string, Waiter>();
  const subscriptions = outcomeVerbs.map((verb) =>
    bus.nc.subscribe(functionVerbFilter(verb), {
      callback: (error, message) => {
        if (error) return;
        const { data } = readEvent<"io.busker.function.deployed" | "io.busker.function.failed">(message);
        const waiter = waiters.get(data.wish);
        if (!waiter) return;
        if (verb === "failed")
          waiter.reject(new BuskerError((data as FailedOutcome).code, (data as FailedOutcome).message));
        else waiter.resolve(data as Outcome);
      },
    }),
  );
  return {
    make: async (verb, name, data) => {
      const id = randomUUID();
      let timer: NodeJS.Timeout | undefined;
      const outcome = new Promise<Outcome>((resolve, reject) => {
        waiters.set(id, { resolve, reject });
        timer = setTimeout(() => reject(noOutcome(verb, name, timeoutMs)), timeoutMs);
      });
      try {
        const subject = functionSubject(verb, name.namespace, name.name);
        // Published and awaited together: a fast provider's outcome may come before the stream's acknowledgement.
        const [, result] = await Promise.all([
          publishDurably(bus, { subject, type: functionEventType(verb), data: data as never, id }),
          outcome,
        ]);
        return result;
      } finally {
        clearTimeout(timer);
        waiters.delete(id);
      }
    },
    stop: () => {
      for (const subscription of subscriptions) subscription.unsubscribe();
    },
  };
};
