import type { Arrivals } from "./arrivals.ts";

/** Calls that came together. */
interface Batch {
  readonly atMs: number;
  readonly meanMs: number;
  calls: number;
}

/** What a simulated second was for calls. */
export interface Served {
  readonly started: number;
  /** How long those took in the mean. */
  readonly meanMs: number;
  /** Calls in replicas at a time, about. */
  readonly inFlight: number;
  /** Of them, those that had to wait. */
  readonly waited: number;
  /** How long those did, together. */
  readonly waitedMs: number;
}

/** The calls of a simulated function: those in line, first come first served, and those in replicas. */
export class SimulatedCalls {
  readonly #line: Batch[] = [];
  #running: { readonly endMs: number; readonly calls: number }[] = [];

  arrive({ calls, meanMs }: Arrivals, nowMs: number): void {
    if (calls > 0) this.#line.push({ atMs: nowMs, meanMs, calls });
  }

  get inLine(): number {
    return this.#line.reduce((sum, { calls }) => sum + calls, 0);
  }

  get running(): number {
    return this.#running.reduce((sum, { calls }) => sum + calls, 0);
  }

  oldestWaitMs(nowMs: number): number {
    return nowMs - (this.#line[0]?.atMs ?? nowMs);
  }

  /**
   * Gives calls in line to replicas with so many slots in all, as many as go through them in a second. `sinceMs` is from when
   * on there were slots, where they have come in the second before.
   */
  serve(slots: number, nowMs: number, sinceMs: number): Served {
    this.#running = this.#running.filter(({ endMs }) => endMs > nowMs);
    // Seconds of slots: a call of ten milliseconds takes a hundredth of one.
    let room = Math.max(0, slots - this.running);
    let started = 0;
    let busyMs = 0;
    let short = 0;
    let waited = 0;
    let waitedMs = 0;
    for (let batch = this.#line[0]; batch; batch = this.#line[0]) {
      const each = Math.min(1, Math.max(batch.meanMs, 1) / 1000);
      const calls = Math.min(batch.calls, Math.floor(room / each + 1e-9));
      if (calls === 0) break;
      room -= calls * each;
      started += calls;
      busyMs += calls * batch.meanMs;
      const waitMs = Math.max(0, sinceMs - batch.atMs);
      if (waitMs > 0) waited += calls;
      waitedMs += calls * waitMs;
      // What ends within the second leaves nothing behind.
      if (batch.meanMs >= 1000) this.#running.push({ endMs: nowMs + batch.meanMs, calls });
      else short += calls * each;
      batch.calls -= calls;
      if (batch.calls > 0) break;
      this.#line.shift();
    }
    const inFlight = this.running + Math.ceil(short - 1e-9);
    return { started, meanMs: started > 0 ? busyMs / started : 0, inFlight, waited, waitedMs };
  }
}
