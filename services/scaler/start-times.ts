import type { ReplicaRecord } from "../../schemas/function.ts";

const kept = 10;

/** Measures how long replicas of one function take to start, by what their provider says of them: both times are its clock's. */
export class StartTimes {
  readonly #starting = new Map<string, number>();
  #lately: readonly number[] = [];

  take(replicas: readonly ReplicaRecord[]): void {
    const present = new Set(replicas.map(({ id }) => id));
    for (const id of this.#starting.keys()) if (!present.has(id)) this.#starting.delete(id);
    for (const { id, state, since } of replicas) {
      const sinceMs = Date.parse(since);
      const begunMs = this.#starting.get(id);
      if (state === "starting" && begunMs === undefined) this.#starting.set(id, sinceMs);
      if (state === "starting" || begunMs === undefined) continue;
      this.#starting.delete(id);
      if (state === "ready") this.#lately = [...this.#lately, Math.max(0, sinceMs - begunMs)].slice(-kept);
    }
  }

  /** The longest of the last ten, in milliseconds; undefined while none was seen. */
  get longestMs(): number | undefined {
    return this.#lately.length > 0 ? Math.max(...this.#lately) : undefined;
  }
}
