import type { DurableCall } from "../bus/durable-call.ts";

/** One delivery of a queued call: settled exactly once. */
export interface Delivery {
  /** Decoded; a message that cannot be is never handed over. */
  readonly call: DurableCall;
  /** 1 the first time that a consumer hands it out. Consumers are made again, so that it says nothing about attempts. */
  readonly deliveryCount: number;
  /** Its number in stream INVOCATIONS. */
  readonly seq: number;
  /**
   * Says that the function is left: what follows (records, events) needs no slot of it, so that the next call is taken. May be
   * called once, or never: the settlement says it too.
   */
  readonly release: () => void;
}

/** What becomes of a delivery. */
export type Settlement =
  /** The call is over: it leaves the queue. */
  | { readonly kind: "done" }
  /** It comes again, to any worker, after so long. */
  | { readonly kind: "retry"; readonly delayMs: number };

/**
 * Runs one call to its settlement; `signal` aborts when this worker stops. One that rejects is reported, and its delivery comes
 * again.
 */
export type RunDelivery = (delivery: Delivery, signal: AbortSignal) => Promise<Settlement>;
