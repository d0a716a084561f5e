import type { CallTransport, SideMessages } from "./open-call.ts";
import type { ReplicaSlots, SlotTable } from "./slot-table.ts";

// How many replicas a waiting call asks for a slot: Sparrow's own probe ratio. The bench prints the tail and the messages.
const probesPerCall = 2;

/**
 * The reservations that one caller's waiting calls have left with replicas it shares with others (Ousterhout et al.,
 * Sparrow, SOSP 2013): such a replica offers a freed slot to the caller that has waited longest.
 */
export class Reservations {
  readonly #transport: CallTransport;
  readonly #table: SlotTable;
  readonly #side: SideMessages;
  /** Where offers come to. */
  readonly #reply: string;
  #count = 0;

  constructor(transport: CallTransport, table: SlotTable, side: SideMessages, reply: string) {
    this.#transport = transport;
    this.#table = table;
    this.#side = side;
    this.#reply = reply;
  }

  /** Asks for slots for so many calls, the oldest of which waits since `since`, milliseconds since the epoch. */
  ask(calls: number, since: number): void {
    let wanted = Math.min(calls * probesPerCall, this.#table.list.length) - this.#count;
    if (wanted <= 0) return;
    // Slots that are all this caller's own come back with its own replies: only shared replicas need asking.
    const shared = this.#table.list.filter((replica) => replica.others > 0 && !replica.reserved);
    for (; wanted > 0 && shared.length > 0; wanted -= 1) {
      const at = Math.floor(this.#transport.random() * shared.length);
      const [replica] = shared.splice(at, 1);
      if (replica) this.#reserve(replica, since);
    }
  }

  /** A replica has made its offer, or is gone. */
  forget(replica: ReplicaSlots): void {
    if (!replica.reserved) return;
    replica.reserved = false;
    this.#count -= 1;
  }

  /** The slot that a replica holds, or would hold, is not wanted any more. */
  withdraw(replica: ReplicaSlots): void {
    this.forget(replica);
    this.#side.withdraw += 1;
    this.#transport.control(replica.controlSubject, { kind: "withdraw" }, this.#reply);
  }

  /** Nobody waits any more. */
  withdrawAll(): void {
    if (this.#count === 0) return;
    for (const replica of this.#table.list) if (replica.reserved) this.withdraw(replica);
  }

  #reserve(replica: ReplicaSlots, since: number): void {
    replica.reserved = true;
    this.#count += 1;
    this.#side.reserve += 1;
    this.#transport.control(replica.controlSubject, { kind: "reserve", since }, this.#reply);
  }
}
