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
  /** Bodies of those that call and wait together, in bytes; one may be larger. */
  readonly bytes: number;
}

interface Host {
  running: number;
  readonly waiting: Waiter[];
  isSilent: boolean;
  /** That were sent away and have not come back in. */
  away: number;
  averageMs: number;
}

interface Waiter {
  readonly enter: () => void;
}

const shortestAwayMs = 250;
const longestAwayMs = 30_000;
const firstGuessMs = 50;
const mostHosts = 10_000;

/**
 * Lets outcomes in to the hosts that are to be called, so that no host takes all places: each has some of its own, fewer while it
 * does not answer, a few more may wait here for them, and the rest is sent away for about as long as the host will need.
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

  /** Outcomes here, those that wait included: what must be taken from the stream at a time to fill every place. */
  get capacity(): number {
    return this.#limits.all * 2;
  }

  /** Resolves with a place when there is one, or at once with how long to stay away. */
  enter(name: string, bytes: number): Promise<Entry> {
    const host = this.#hostOf(name);
    const fits = this.#bytes + bytes <= this.#limits.bytes || this.#running === 0;
    if (fits && host.waiting.length === 0 && this.#mayRun(host)) return Promise.resolve(this.#admit(name, host, bytes));
    if (!fits || !this.#mayWait(host)) return Promise.resolve({ kind: "later", delayMs: this.#sendAway(host) });
    this.#waiting += 1;
    this.#bytes += bytes;
    return new Promise((resolve) => {
      host.waiting.push({
        enter: () => {
          this.#waiting -= 1;
          this.#bytes -= bytes;
          resolve(this.#admit(name, host, bytes));
        },
      });
    });
  }

  #placesOf({ isSilent }: Host): number {
    return isSilent ? this.#limits.perSilentHost : this.#limits.perHost;
  }

  #mayRun(host: Host): boolean {
    return this.#running < this.#limits.all && host.running < this.#placesOf(host);
  }

  #mayWait(host: Host): boolean {
    return host.waiting.length < 2 * this.#placesOf(host) && this.#waiting < this.#limits.all;
  }

  #admit(name: string, host: Host, bytes: number): Entry {
    const sinceMs = performance.now();
    this.#running += 1;
    this.#bytes += bytes;
    host.running += 1;
    host.away = Math.max(0, host.away - 1);
    const leave = (isThere: boolean): void => {
      this.#running -= 1;
      this.#bytes -= bytes;
      host.running -= 1;
      host.isSilent = !isThere;
      host.averageMs = 0.7 * host.averageMs + 0.3 * (performance.now() - sinceMs);
      this.#letIn(name, host);
    };
    return { kind: "in", place: { leave } };
  }

  #letIn(name: string, host: Host): void {
    const next = (from: Host): boolean => {
      const waiter = this.#mayRun(from) ? from.waiting.shift() : undefined;
      waiter?.enter();
      return waiter !== undefined;
    };
    while (next(host));
    if (this.#waiting > 0) for (const other of this.#hosts.values()) next(other);
    if (host.running === 0 && !host.isSilent && host.waiting.length === 0) this.#hosts.delete(name);
  }

  #sendAway(host: Host): number {
    host.away += 1;
    const needsMs = (host.away * host.averageMs) / this.#placesOf(host);
    // Spread, so that they do not come back all at once.
    return Math.min(longestAwayMs, shortestAwayMs + needsMs) * (0.75 + Math.random() / 2);
  }

  #hostOf(name: string): Host {
    const known = this.#hosts.get(name);
    if (known) return known;
    if (this.#hosts.size >= mostHosts) this.#forgetIdle();
    const host: Host = { running: 0, waiting: [], isSilent: false, away: 0, averageMs: firstGuessMs };
    this.#hosts.set(name, host);
    return host;
  }

  #forgetIdle(): void {
    for (const [name, host] of this.#hosts)
      if (host.running === 0 && host.waiting.length === 0) this.#hosts.delete(name);
  }
}
