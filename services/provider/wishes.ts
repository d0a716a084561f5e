import { BuskerError } from "../../schemas/errors.ts";
import { functionEventType } from "../../schemas/events.ts";
import { checkName, formatFunctionName } from "../../schemas/names.ts";
import { functionAnyFilter, functionSubject, outcomeOf, wishVerbs } from "../../schemas/subjects.ts";
import { streams } from "../../schemas/topology.ts";
import type { Bus } from "../bus/connection.ts";
import { readEvent } from "../bus/events.ts";
import { consumeDurably, type Disposition, publishDurably } from "../bus/streams.ts";
import { describeError, type Log } from "../runtime/log.ts";
import { applyWish, type Wish, type WishEnd, type WishParts } from "./apply-wish.ts";
import { createKeyedQueue } from "./keyed-queue.ts";

/** What consuming wishes needs. */
export interface WishesOptions {
  readonly bus: Bus;
  readonly parts: WishParts;
  readonly log: Log;
}

/** What is read of a stream's message. */
type WishMessage = Parameters<typeof readEvent>[0] & { readonly seq: number; readonly redelivered: boolean };

// Wishes of different functions at a time; most of it is waiting for a first replica.
const concurrency = 64;
// A provider that dies in a wish is replaced within a second or two; the next one should not wait long for the rest.
const leaseMs = 5000;
const retryMs = 500;

const done: Disposition = { kind: "done" };

/** The wish in a message; undefined for an outcome, which the same subjects carry. Throws `invalid_request`. */
const readWish = (message: WishMessage): Wish | undefined => {
  const [, , verbText, namespace, name] = message.subject.split(".");
  const verb = wishVerbs.find((known) => known === verbText);
  if (!verb) return undefined;
  const { id, data } = readEvent<"io.busker.function.deploy">(message);
  return {
    verb,
    namespace: checkName("namespace", namespace),
    name: checkName("function name", name),
    // A plain client's wish has no id; its place in the stream is as good.
    id: id === "" ? `wish-${message.seq}` : id,
    data,
    redelivered: message.redelivered,
  };
};

/** Consumes wishes until it is stopped: those of one function in order, those of others meanwhile. */
export const openWishes = async ({ bus, parts, log }: WishesOptions): Promise<() => Promise<void>> => {
  const queue = createKeyedQueue();
  const newest = new Map<string, number>();

  // The outcome's own id follows from the wish's: when it is told again after a crash, the stream swallows it.
  const tellSuccess = async (wish: Wish, { outcome }: Extract<WishEnd, { kind: "settled" }>): Promise<void> => {
    const verb = outcomeOf[wish.verb];
    const subject = functionSubject(verb, wish.namespace, wish.name);
    await publishDurably(bus, {
      subject,
      type: functionEventType(verb),
      data: { wish: wish.id, ...outcome },
      id: `${wish.id}-outcome`,
    });
    log.info(`${wish.verb} done`, { function: formatFunctionName(wish), ...outcome });
  };
  const tellFailure = async (wish: Wish, { code, message, status }: BuskerError): Promise<void> => {
    const subject = functionSubject("failed", wish.namespace, wish.name);
    const data = { wish: wish.id, verb: wish.verb, code, message };
    await publishDurably(bus, { subject, type: "io.busker.function.failed", data, id: `${wish.id}-outcome` });
    // Who deploys asks for an update first, and is told whether there is anything to update.
    if (wish.verb === "update" && code === "function_not_found") return;
    // A wish that was refused is its maker's matter, who is told; a failure of ours is for who runs this.
    const isRefused = status < 500 || code === "unsupported";
    log[isRefused ? "info" : "warn"](`${wish.verb} ${isRefused ? "refused" : "failed"}`, {
      function: formatFunctionName(wish),
      code,
      why: message,
    });
  };

  // After a crash a wish that was begun comes again later than those that were not: it must not undo them.
  const assertNewest = (wish: Wish, seq: number): void => {
    const key = formatFunctionName(wish);
    if (seq < (newest.get(key) ?? 0))
      throw new BuskerError(
        "conflict",
        `a later wish about ${key} was carried out before this one; make it again if it still holds`,
      );
    newest.set(key, seq);
  };
  const carryOut = async (wish: Wish, seq: number): Promise<Disposition> => {
    try {
      assertNewest(wish, seq);
      const end = await applyWish(parts, wish);
      if (end.kind === "unfinished") return { kind: "retry", delayMs: 0 };
      await tellSuccess(wish, end);
    } catch (error) {
      const fault =
        error instanceof BuskerError ? error : new BuskerError("internal", describeError(error), { cause: error });
      if (fault.code === "bus_unavailable" || parts.signal.aborted) throw fault;
      await tellFailure(wish, fault);
    }
    return done;
  };
  const handle = async (message: WishMessage): Promise<Disposition> => {
    try {
      const wish = readWish(message);
      return wish ? await queue(formatFunctionName(wish), () => carryOut(wish, message.seq)) : done;
    } catch (error) {
      const text = describeError(error);
      log.warn("could not carry out a wish", { subject: message.subject, error: text });
      if (error instanceof BuskerError && error.code === "invalid_request") return { kind: "dead", reason: text };
      return { kind: "retry", delayMs: retryMs };
    }
  };
  const options = {
    stream: streams.OPERATIONS,
    durable: "provider",
    filters: [functionAnyFilter],
    concurrency,
    leaseMs,
  };
  return consumeDurably(bus, options, handle);
};
