import type { FunctionStatusRecord } from "../../../schemas/function.ts";

interface Replica {
  readonly id: string;
  readonly readyMs: number;
}

/** The replicas of a simulated function: each is ready its start-up time after it is wished for. */
export class SimulatedReplicas {
  readonly #startMs: number;
  #replicas: Replica[] = [];
  #made = 0;

  constructor(startMs: number) {
    this.#startMs = startMs;
  }

  get count(): number {
    return this.#replicas.length;
  }

  ready(nowMs: number): number {
    return this.#replicas.filter(({ readyMs }) => readyMs <= nowMs).length;
  }

  /** When the first of them became or becomes ready. */
  get firstReadyMs(): number {
    return Math.min(...this.#replicas.map(({ readyMs }) => readyMs));
  }

  /** Ids of those that are ready. */
  readyIds(nowMs: number): readonly string[] {
    return this.#replicas.filter(({ readyMs }) => readyMs <= nowMs).map(({ id }) => id);
  }

  /** Has so many of them; those that would be ready last go first. */
  set(wished: number, nowMs: number): void {
    while (this.#replicas.length < wished)
      this.#replicas.push({ id: `r${(this.#made += 1)}`, readyMs: nowMs + this.#startMs });
    this.#replicas = this.#replicas.slice(0, wished);
  }

  status(nowMs: number): FunctionStatusRecord {
    return {
      replicas: this.#replicas.map(({ id, readyMs }) => ({
        id,
        state: readyMs <= nowMs ? "ready" : "starting",
        revision: "backtest",
        since: new Date(readyMs <= nowMs ? readyMs : readyMs - this.#startMs).toISOString(),
      })),
    };
  }
}
