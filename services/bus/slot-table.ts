import { invokeReplicaSubject, replicaControlSubject } from "../../schemas/subjects.ts";

/** One replica as one caller sees it. */
export interface ReplicaSlots {
  readonly id: string;
  readonly subject: string;
  readonly controlSubject: string;
  /** Calls it takes at a time; 0: no limit. */
  slots: number;
  /** This caller's calls in it. */
  mine: number;
  /** What other callers have in it, as its last reply said; a guess between replies. */
  others: number;
  /** This caller has asked for a slot and was neither offered one nor has withdrawn. */
  reserved: boolean;
  /** Token of a ping that it has not answered. */
  ping: number | undefined;
  /** When it was last heard of, milliseconds since the epoch. */
  heardMs: number;
}

/** Free slots of a replica as this caller knows it. */
export const freeSlots = (replica: ReplicaSlots): number =>
  replica.slots === 0 ? Number.POSITIVE_INFINITY : replica.slots - replica.mine - replica.others;

// What counts as free in a replica without a limit, so that who fetches work ahead fetches some and not all.
const slotsOfUnlimited = 50;

/** Free slots of a replica as a number to plan by: one without a limit counts as having 50. */
export const plannedSlots = (replica: ReplicaSlots): number =>
  Math.max(0, replica.slots === 0 ? slotsOfUnlimited - load(replica) : freeSlots(replica));

const load = (replica: ReplicaSlots): number => replica.mine + replica.others;

/** The replicas of one function that are ready, and which of them takes the next call. */
export class SlotTable {
  readonly #namespace: string;
  readonly #name: string;
  readonly #replicas = new Map<string, ReplicaSlots>();
  #list: readonly ReplicaSlots[] = [];

  constructor(namespace: string, name: string) {
    this.#namespace = namespace;
    this.#name = name;
  }

  /** Every ready replica. */
  get list(): readonly ReplicaSlots[] {
    return this.#list;
  }

  find(id: string): ReplicaSlots | undefined {
    return this.#replicas.get(id);
  }

  /** Enters a replica, or corrects what is known of it. */
  enter(id: string, slots: number, others: number, nowMs: number): ReplicaSlots {
    const known = this.#replicas.get(id);
    if (known) {
      known.slots = slots;
      known.others = others;
      known.heardMs = nowMs;
      return known;
    }
    const replica: ReplicaSlots = {
      id,
      subject: invokeReplicaSubject(this.#namespace, this.#name, id),
      controlSubject: replicaControlSubject(id),
      slots,
      mine: 0,
      others,
      reserved: false,
      ping: undefined,
      heardMs: nowMs,
    };
    this.#replicas.set(id, replica);
    this.#list = [...this.#replicas.values()];
    return replica;
  }

  /** Strikes a replica out; the calls in it stay with whoever holds the object. */
  strike(id: string): ReplicaSlots | undefined {
    const replica = this.#replicas.get(id);
    if (!replica) return undefined;
    this.#replicas.delete(id);
    this.#list = [...this.#replicas.values()];
    return replica;
  }

  /**
   * The replica for the next call: one with a free slot, at random among them; of replicas without a limit the one
   * with the fewest calls in flight. `random` gives a number from 0 to 1.
   */
  choose(random: () => number): ReplicaSlots | undefined {
    let chosen: ReplicaSlots | undefined;
    let ties = 0;
    for (const replica of this.#list) {
      if (freeSlots(replica) <= 0) continue;
      const better = chosen === undefined || (replica.slots === 0 && load(replica) < load(chosen));
      if (better) ties = 0;
      else if (chosen && replica.slots === 0 && load(replica) > load(chosen)) continue;
      ties += 1;
      if (better || random() * ties < 1) chosen = replica;
    }
    return chosen;
  }
}
