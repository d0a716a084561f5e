/** A place to call a host: to be left when the call is over. */
export interface Place {
  /** `isThere`: the host has answered something. */
  readonly leave: (isThere: boolean) => void;
}

/** Either a place, or how long to stay away for: nothing is kept here meanwhile. */
export type Entry =
  | { readonly kind: "in"; readonly place: Place }
  | { readonly kind: "later"; readonly delayMs: number };

/** How many may call. */
export interface GateLimits {
  readonly all: number;
  readonly perHost: number;
  /** Of a host that did not answer last time. */
  readonly perSilentHost: number;
  /** That may wait here for a place, for all hosts together. */
  readonly waiting: number;
  /** Bodies of those that call and wait together, in bytes; one may be larger. */
  readonly bytes: number;
}

interface Waiter {
  readonly bytes: number;
  readonly timer: NodeJS.Timeout;
  readonly enter: () => void;
}

interface Host {
  /** When each call that runs began, the oldest first. */
  readonly running: Set<{ readonly sinceMs: number }>;
  readonly waiting: Set<Waiter>;
  isSilent: boolean;
  /** How long a call takes of late. */
  averageMs: number;
}

// A host that takes longer for a call is one that nobody waits for here: whoever is for others would wait behind.
const slowMs = 250;
const mostWaitMs = 2 * slowMs;
const longestAwayMs = 30_000;
const mostHosts = 10_000;

const isSlow = ({ running, isSilent, averageMs }: Host): boolean => {
  const [oldest] = running;
  return isSilent || averageMs > slowMs || (oldest !== undefined && performance.now() - oldest.sinceMs > slowMs);
};

/** Doubled each time, and spread, so that they do not come back all at once. */
const awayMs = (host: Host, deliveries: number): number => {
  const firstMs = isSlow(host) ? 4 * slowMs : slowMs;
  return Math.min(longestAwayMs, firstMs * 2 ** Math.min(deliveries - 1, 20)) * (0.5 + Math.random());
};

/**
 * Lets outcomes in to the hosts that are to be called, so that no host takes all places: each has some of its own, fewer while it
 * does not answer. Whoever finds none waits here for a moment, where the host is quick; else it is sent away for a time, so that
 * those behind it come through.
 */
export class HostGate {
  readonly #limits: GateLimits;
  readonly #hosts = new Map<string, Host>();
  #running = 0;
  #waiting = 0;
  #bytes = 0;

  constructor(limits: GateLimits) {
    this.#limits = limits;
  }

  /** Outcomes that are here at a time: what must be taken from the stream to fill every place. */
  get capacity(): number {
    return this.#limits.all + this.#limits.waiting;
  }

  /** Resolves with a place, or with how long to stay away: the longer the more often it was delivered. */
  enter(name: string, bytes: number, deliveries = 1): Promise<Entry> {
    const host = this.#hostOf(name);
    const fits = this.#bytes + bytes <= this.#limits.bytes || this.#running === 0;
    if (fits && host.waiting.size === 0 && this.#mayRun(host)) return Promise.resolve(this.#admit(name, host, bytes));
    if (fits && this.#waiting < this.#limits.waiting && !isSlow(host)) return this.#wait(name, host, bytes, deliveries);
    return Promise.resolve({ kind: "later", delayMs: awayMs(host, deliveries) });
  }

  #mayRun(host: Host): boolean {
    const places = host.isSilent ? this.#limits.perSilentHost : this.#limits.perHost;
    return this.#running < this.#limits.all && host.running.size < places;
  }

  #wait(name: string, host: Host, bytes: number, deliveries: number): Promise<Entry> {
    this.#waiting += 1;
    this.#bytes += bytes;
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#leaveLine(host, waiter);
        resolve({ kind: "later", delayMs: awayMs(host, deliveries) });
      }, mostWaitMs);
      const waiter: Waiter = {
        bytes,
        timer,
        enter: () => {
          this.#leaveLine(host, waiter);
          resolve(this.#admit(name, host, bytes));
        },
      };
      host.waiting.add(waiter);
    });
  }

  #leaveLine(host: Host, waiter: Waiter): void {
    clearTimeout(waiter.timer);
    host.waiting.delete(waiter);
    this.#waiting -= 1;
    this.#bytes -= waiter.bytes;
  }

  #admit(name: string, host: Host, bytes: number): Entry {
    const call = { sinceMs: performance.now() };
    this.#running += 1;
    this.#bytes += bytes;
    host.running.add(call);
    const leave = (isThere: boolean): void => {
      this.#running -= 1;
      this.#bytes -= bytes;
      host.running.delete(call);
      host.isSilent = !isThere;
      host.averageMs = 0.7 * host.averageMs + 0.3 * (performance.now() - call.sinceMs);
      this.#letIn(name, host);
    };
    return { kind: "in", place: { leave } };
  }

  #letIn(name: string, host: Host): void {
    const next = (from: Host): boolean => {
      const [waiter] = from.waiting;
      if (waiter === undefined || !this.#mayRun(from)) return false;
      waiter.enter();
      return true;
    };
    while (next(host));
    if (this.#waiting > 0) for (const other of this.#hosts.values()) next(other);
    if (host.running.size === 0 && host.waiting.size === 0 && !isSlow(host)) this.#hosts.delete(name);
  }

  #hostOf(name: string): Host {
    const known = this.#hosts.get(name);
    if (known) return known;
    if (this.#hosts.size >= mostHosts) this.#forgetIdle();
    const host: Host = { running: new Set(), waiting: new Set(), isSilent: false, averageMs: 0 };
    this.#hosts.set(name, host);
    return host;
  }

  #forgetIdle(): void {
    for (const [name, host] of this.#hosts)
      if (host.running.size === 0 && host.waiting.size === 0) this.#hosts.delete(name);
  }
}
