import { offerHoldMs } from "../schemas/invocation.ts";

interface Reservation {
  readonly caller: string;
  readonly sinceMs: number;
  readonly reply: string;
}

interface Hold {
  readonly caller: string;
  readonly untilMs: number;
}

/**
 * The slots of one replica. A call takes a free one or is refused: a replica never queues. Callers that wait leave
 * reservations; a slot that frees is held for the one that has waited longest, until its call comes, it withdraws, or
 * the hold runs out.
 */
export class SlotKeeper {
  /** Calls taken at a time; 0: no limit. */
  readonly slots: number;
  readonly #offer: (reply: string) => void;
  readonly #reservations = new Map<string, Reservation>();
  #holds: Hold[] = [];
  #inFlight = 0;
  #open = true;

  /** `offer` sends a slot offer to the reply subject of a reservation. */
  constructor(slots: number, offer: (reply: string) => void) {
    this.slots = slots;
    this.#offer = offer;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** Slots that a caller finds taken: calls in flight, and slots held for other callers. */
  loadFor(caller: string): number {
    let held = 0;
    for (const hold of this.#holds) if (hold.caller !== caller) held += 1;
    return this.#inFlight + held;
  }

  /** Takes a slot for this caller's call; false when there is none for it. */
  take(caller: string): boolean {
    if (!this.#open) return false;
    if (this.slots !== 0 && !this.#dropHold(caller) && this.#taken() >= this.slots) return false;
    this.#inFlight += 1;
    return true;
  }

  /**
   * Gives a slot back when its call has ended, and holds it for who has waited longest. True when that is `caller`
   * itself: the reply it is about to get tells it so, without a message more.
   */
  release(caller: string): boolean {
    this.#inFlight -= 1;
    return this.#handOut(caller);
  }

  /** Notes that a caller waits since `sinceMs`; a second reservation of the same caller replaces its first. */
  reserve(caller: string, sinceMs: number, reply: string): void {
    this.#reservations.set(caller, { caller, sinceMs, reply });
    this.#handOut(undefined);
  }

  /** The caller does not wait any more. */
  withdraw(caller: string): void {
    this.#reservations.delete(caller);
    if (this.#dropHold(caller)) this.#handOut(undefined);
  }

  /** Lets go of slots held for callers that never came. */
  expire(nowMs: number): void {
    if (this.#holds.every((hold) => hold.untilMs > nowMs)) return;
    this.#holds = this.#holds.filter((hold) => hold.untilMs > nowMs);
    this.#handOut(undefined);
  }

  /** Takes nothing new from now on. */
  close(): void {
    this.#open = false;
    this.#reservations.clear();
    this.#holds = [];
  }

  /** Takes calls again. */
  reopen(): void {
    this.#open = true;
  }

  #taken(): number {
    return this.#inFlight + this.#holds.length;
  }

  #dropHold(caller: string): boolean {
    const at = this.#holds.findIndex((hold) => hold.caller === caller);
    if (at < 0) return false;
    this.#holds.splice(at, 1);
    return true;
  }

  #longestWaiting(): Reservation | undefined {
    let longest: Reservation | undefined;
    for (const reservation of this.#reservations.values())
      if (!longest || reservation.sinceMs < longest.sinceMs) longest = reservation;
    return longest;
  }

  #handOut(answered: string | undefined): boolean {
    let toAnswered = false;
    while (this.#reservations.size > 0 && (this.slots === 0 || this.#taken() < this.slots)) {
      const next = this.#longestWaiting();
      if (!next) break;
      this.#reservations.delete(next.caller);
      this.#holds.push({ caller: next.caller, untilMs: Date.now() + offerHoldMs });
      if (next.caller === answered && !toAnswered) toAnswered = true;
      else this.#offer(next.reply);
    }
    return toAnswered;
  }
}
