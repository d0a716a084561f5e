import { randomUUID } from "node:crypto";
import { BuskerError } from "../../schemas/errors.ts";
import { type EventData, type FailedOutcome, functionEventType, type Outcome } from "../../schemas/events.ts";
import { formatFunctionName, type FunctionName } from "../../schemas/names.ts";
import {
  functionProgressFilter,
  functionSubject,
  functionVerbFilter,
  outcomeVerbs,
  parseFunctionSubject,
  type WishVerb,
} from "../../schemas/subjects.ts";
import type { Bus } from "../bus/connection.ts";
import { readEvent } from "../bus/events.ts";
import { publishDurably } from "../bus/streams.ts";

/** Publishes wishes about functions and awaits what becomes of them. */
export interface Wishes {
  /**
   * Resolves with the outcome; rejects with the error the provider reports, or with `provider_unavailable` when neither
   * that nor a word of progress with a wish about this function came in time: the wish stays recorded and is carried out
   * when a provider is back. `tell` is called with this wish's progress.
   */
  readonly make: <V extends WishVerb>(
    verb: V,
    name: FunctionName,
    data: EventData[`io.busker.function.${V}`],
    tell?: (progress: string) => void,
  ) => Promise<Outcome>;
  readonly stop: () => void;
}

interface Waiter {
  /** `name.namespace`. */
  readonly function: string;
  readonly tell: ((progress: string) => void) | undefined;
  /** Runs from the last word of progress: a pull takes as long as it takes. */
  readonly timer: NodeJS.Timeout;
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
  // Wishes about one function are carried out in turn, so that those behind this one wait as long.
  const onProgress = (message: Parameters<typeof readEvent>[0]): void => {
    const name = parseFunctionSubject(message.subject, 2);
    if (!name) return;
    const { data } = readEvent<"io.busker.function.progress">(message);
    const key = formatFunctionName(name);
    for (const [id, waiter] of waiters) {
      if (waiter.function === key) waiter.timer.refresh();
      if (id === data.wish) waiter.tell?.(data.message);
    }
  };
  subscriptions.push(
    bus.nc.subscribe(functionProgressFilter, { callback: (error, message) => void (error ?? onProgress(message)) }),
  );
  return {
    make: async (verb, name, data, tell) => {
      const id = randomUUID();
      let timer: NodeJS.Timeout | undefined;
      const outcome = new Promise<Outcome>((resolve, reject) => {
        timer = setTimeout(() => reject(noOutcome(verb, name, timeoutMs)), timeoutMs);
        waiters.set(id, { function: formatFunctionName(name), tell, timer, resolve, reject });
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
