import { setMaxListeners } from "node:events";
import { Bag } from "../../bus/bag.ts";
import type { Bus, BusMessage } from "../../bus/connection.ts";
import { decodeDurable, type DurableCall } from "../../bus/durable-call.ts";
import { type Handout, sayOf } from "../../bus/handout.ts";
import { createFaultReporter } from "../../bus/report-fault.ts";
import type { RunDelivery, Settlement } from "../delivery.ts";
import type { Held } from "./held.ts";
import type { LaneQueue } from "./lane.ts";
import type { Turnstile } from "./turnstile.ts";
import { openVerdicts } from "./verdicts.ts";

/** What a hand needs. */
export interface HandOptions {
  readonly run: RunDelivery;
  readonly leaseMs: number;
  readonly turnstile: Turnstile;
  /** A delivery comes again at this time. */
  readonly onRetry: (queue: LaneQueue, atMs: number) => void;
}

/** The deliveries that this worker has in hand. */
export interface Hand {
  /** Takes a message in hand and runs it. */
  readonly take: (queue: LaneQueue, message: BusMessage, handout: Handout) => void;
  readonly size: () => number;
  /** Waits until the hand is empty, for `graceMs`; then aborts what runs, and gives back what does not end on that. */
  readonly empty: (graceMs: number) => Promise<void>;
}

// What an aborted run has to say what becomes of its call.
const abortGraceMs = 2000;
// A run that rejected is tried again after 1 s, 2 s, 4 s ... at most this.
const longestFaultDelayMs = 60_000;
// The lease is renewed when this part of it is over, and looked at as often.
const leaseParts = 3;

/** Opens a hand. */
export const openHand = (bus: Bus, { run, leaseMs, turnstile, onRetry }: HandOptions): Hand => {
  const bag = new Bag<Held>();
  const verdicts = openVerdicts(bus, leaseMs);
  const stopping = new AbortController();
  // As many listeners as there are calls.
  setMaxListeners(0, stopping.signal);
  const report = createFaultReporter();
  let onEmpty = (): void => {};
  let isClosing = false;
  const release = (held: Held): void => {
    if (held.isReleased) return;
    held.isReleased = true;
    held.queue.lane.release();
  };
  const settle = (held: Held, settlement: Settlement): void => {
    if (held.isSettled) return;
    held.isSettled = true;
    bag.remove(held);
    verdicts.say(held, settlement);
    if (settlement.kind === "retry") onRetry(held.queue, Date.now() + settlement.delayMs);
    held.queue.lane.drop(held);
    turnstile.went(held.bytes);
    release(held);
    if (bag.size === 0) onEmpty();
  };
  const read = (message: BusMessage, reply: string): DurableCall | undefined => {
    try {
      return decodeDurable(message);
    } catch (cause) {
      report(`dropped a message on ${message.subject}`, cause);
      sayOf(bus, reply, { kind: "unreadable" });
      return undefined;
    }
  };
  const start = async (held: Held, call: DurableCall): Promise<Settlement> => {
    try {
      const { deliveryCount, seq } = held;
      return await run({ call, deliveryCount, seq, release: () => release(held) }, stopping.signal);
    } catch (cause) {
      report(`running call ${held.callId} failed; it comes again`, cause);
      return { kind: "retry", delayMs: Math.min(1000 * 2 ** (held.deliveryCount - 1), longestFaultDelayMs) };
    }
  };
  const renew = (): void => {
    const now = Date.now();
    for (const held of bag.snapshot())
      if (now - held.renewedMs >= leaseMs / leaseParts && sayOf(bus, held.reply, { kind: "working" }))
        held.renewedMs = now;
  };
  // One timer for all: a call that ends sooner costs nothing.
  const timer = setInterval(renew, leaseMs / leaseParts).unref();
  const untilEmpty = (withinMs: number): Promise<void> =>
    new Promise((resolve) => {
      const clock = setTimeout(resolve, withinMs);
      onEmpty = () => {
        clearTimeout(clock);
        resolve();
      };
      if (bag.size === 0) onEmpty();
    });
  return {
    take: (queue, message, { deliveryCount, seq }) => {
      const reply = message.reply ?? "";
      const now = Date.now();
      if (isClosing) return void sayOf(bus, reply, { kind: "retry", delayMs: 0 });
      const call = read(message, reply);
      if (!call) return;
      const twin = queue.lane.held.get(seq);
      if (twin?.callId === call.id) {
        // Its lease ran out while the server was away, or this process was busy: it is still run here, and once.
        twin.reply = reply;
        twin.renewedMs = now;
        return;
      }
      const held: Held = {
        queue,
        callId: call.id,
        seq,
        bytes: message.data.length,
        deliveryCount,
        reply,
        renewedMs: now,
        isReleased: false,
        isSettled: false,
        bagIndex: -1,
      };
      bag.add(held);
      queue.lane.add(held);
      turnstile.came(held.bytes);
      void start(held, call).then((settlement) => settle(held, settlement));
    },
    size: () => bag.size,
    empty: async (graceMs) => {
      isClosing = true;
      await untilEmpty(graceMs);
      stopping.abort();
      await untilEmpty(abortGraceMs);
      for (const held of bag.snapshot()) settle(held, { kind: "retry", delayMs: 0 });
      clearInterval(timer);
      verdicts.close();
    },
  };
};
