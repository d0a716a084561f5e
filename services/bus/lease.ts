import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { BuskerError } from "../../schemas/errors.ts";
import { type BucketDefinition, buckets } from "../../schemas/topology.ts";
import type { Bus } from "./connection.ts";
import { keepRunning } from "./keep-running.ts";
import { type Bucket, openBucket } from "./kv.ts";

/** A role that one process at a time has. */
export interface LeaseOptions {
  readonly role: string;
  /**
   * What is done by who has the role. The signal is aborted when the role is lost or given up; the work is to end then. When it
   * ends by itself the role is given back, and sought again.
   */
  readonly work: (signal: AbortSignal) => Promise<void>;
  /** Where roles are: their values run out after the bucket's time. */
  readonly bucket?: BucketDefinition;
}

/** The wish to have a role, and the role. */
export interface Lease {
  /** False from the moment on when another may have it. */
  readonly isHeld: () => boolean;
  /** Seeks it no more; waits for the work to end, and gives it back, so that another has it at once. */
  readonly stop: () => Promise<void>;
}

/** What a role's key holds. */
interface Holder {
  readonly holder: string;
  readonly name: string;
}

/** How often who has not got it asks for it, in milliseconds. */
const seekMs = 1000;

const isConflict = (error: unknown): boolean => error instanceof BuskerError && error.code === "conflict";

/** Writes one holder's name into the key, and gives what its next write expects; undefined when another has it. */
const createHolding = (bucket: Bucket<Holder>, role: string, name: string) => {
  const value: Holder = { holder: randomUUID(), name };
  // Of a write that was not answered nobody knows whether it was done.
  const ownRevision = async (): Promise<number | undefined> => {
    const entry = await bucket.get(role);
    return entry?.value.holder === value.holder ? entry.revision : undefined;
  };
  const write = async (act: () => Promise<number>): Promise<number | undefined> => {
    try {
      return await act();
    } catch (error) {
      if (isConflict(error)) return ownRevision();
      throw error;
    }
  };
  return {
    take: () => write(() => bucket.create(role, value)),
    renew: (revision: number) => write(() => bucket.update(role, value, revision)),
    giveBack: (revision: number) => bucket.remove(role, revision),
  };
};

type Holding = ReturnType<typeof createHolding>;

/** The time for which a role is one's own, longer with each renewal. */
class Term {
  readonly #lost = new AbortController();
  readonly #safeMs: number;
  #timer: NodeJS.Timeout | undefined;
  #endMs = 0;

  constructor(ttlMs: number) {
    // The server counts from when it has a write, we from when it was sent; and two machines' clocks run apart a little.
    this.#safeMs = ttlMs * 0.8;
  }

  /** Aborted when it is over. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** By the clock: a process that was stopped for a while finds its timers late. */
  get isOver(): boolean {
    return this.#lost.signal.aborted || Date.now() >= this.#endMs;
  }

  extend(sentMs: number): void {
    if (this.#lost.signal.aborted) return;
    this.#endMs = sentMs + this.#safeMs;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.end(), this.#endMs - Date.now());
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#lost.abort();
  }
}

/** Renews a role until its term is over. Gives what a write expects that gives it back. */
const renewAll = async (holding: Holding, term: Term, first: number, everyMs: number): Promise<number> => {
  let revision = first;
  for (;;) {
    await pause(everyMs, undefined, { signal: term.lost }).catch(() => undefined);
    if (term.lost.aborted) return revision;
    const sentMs = Date.now();
    // One that fails is tried again: while the server is away nobody else gets the role, and ours ends by the clock.
    const renewed = await holding.renew(revision).catch(() => revision);
    if (renewed === undefined) term.end();
    else if (renewed !== revision) {
      revision = renewed;
      term.extend(sentMs);
    }
  }
};

/** Seeks a role until it is stopped, and does its work while it has it. Over restarts of the server, too. */
export const holdLease = async (bus: Bus, { role, work, bucket = buckets.leases }: LeaseOptions): Promise<Lease> => {
  const holding = createHolding(await openBucket<Holder>(bus, bucket), role, bus.source);
  const stopping = new AbortController();
  let current: Term | undefined;
  const serve = async (first: number, sentMs: number): Promise<void> => {
    const term = (current = new Term(bucket.ttlMs));
    term.extend(sentMs);
    const renewing = renewAll(holding, term, first, bucket.ttlMs / 5);
    try {
      await work(AbortSignal.any([term.lost, stopping.signal]));
    } finally {
      const isOurs = !term.isOver;
      term.end();
      const revision = await renewing;
      // What cannot be given back runs out.
      if (isOurs) await holding.giveBack(revision).catch(() => undefined);
    }
  };
  const seek = async (): Promise<void> => {
    const sentMs = Date.now();
    const revision = await holding.take();
    if (revision !== undefined) await serve(revision, sentMs);
    await pause(seekMs, undefined, { signal: stopping.signal });
  };
  const seeking = keepRunning(bus, `the work of role ${role}`, stopping.signal, seek);
  return {
    isHeld: () => current !== undefined && !current.isOver,
    stop: async () => {
      stopping.abort();
      await seeking;
    },
  };
};
