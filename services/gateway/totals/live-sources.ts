import type { Sample } from "../../../schemas/read-sample.ts";
import type { StoredSample } from "../../bus/read-samples.ts";

/** What the sources of one function said last, added up. */
export interface LiveState {
  /** At callers: parked, and in replicas. */
  readonly waiting: number;
  readonly inFlight: number;
  /** Of those: at queue-workers. */
  readonly inFlightOfQueue: number;
  /** In replicas, as they see it. */
  readonly inReplicas: number;
  readonly memoryBytes: number;
  /** Durable calls that are not over; undefined while no queue-worker tells. */
  readonly queue: { readonly depth: number; readonly oldestMs: number } | undefined;
}

interface Heard {
  readonly source: string;
  readonly sample: Exclude<Sample, { kind: "deployed" }>;
  readonly atMs: number;
}

// A caller with calls tells once a second, and falls silent with zeros; one that is silent with calls is gone.
const callerSilenceMs = 5000;
// A replica is there for as long as the provider says so; this is for the moment before it does.
const replicaSilenceMs = 3000;

/** The newest sample of every source. */
export class LiveSources {
  readonly #functions = new Map<string, Map<string, Heard>>();
  #newestMs = 0;
  #newestAt = 0;

  take(key: string, { source, sample, atMs }: StoredSample): void {
    this.#newestMs = Math.max(this.#newestMs, atMs);
    this.#newestAt = performance.now();
    if (sample.kind === "deployed") return void this.#functions.delete(key);
    const sources = this.#functions.get(key) ?? new Map<string, Heard>();
    // A queue-worker tells of its calls and of its queues.
    this.#functions.set(key, sources.set(`${sample.kind} ${source}`, { source, sample, atMs }));
  }

  /** The stream's time: no clock is compared with another machine's. */
  nowMs(): number {
    return this.#newestMs + performance.now() - this.#newestAt;
  }

  forget(key: string): void {
    this.#functions.delete(key);
  }

  /** `isThere` tells whether a replica is there, by its id. */
  of(key: string, isThere: (replica: string) => boolean): LiveState {
    const state = { waiting: 0, inFlight: 0, inFlightOfQueue: 0, inReplicas: 0, memoryBytes: 0 };
    let queue: (LiveState["queue"] & { readonly atMs: number }) | undefined;
    const now = this.nowMs();
    const sources = this.#functions.get(key) ?? new Map<string, Heard>();
    for (const [told, { source, sample, atMs }] of sources) {
      const silentMs = now - atMs;
      const isGone =
        sample.kind === "replica"
          ? silentMs > replicaSilenceMs && !isThere(source)
          : silentMs > callerSilenceMs && sample.kind === "caller";
      if (isGone) sources.delete(told);
      else if (sample.kind === "replica") {
        state.inReplicas += sample.data.inFlight;
        state.memoryBytes += sample.data.memoryBytes;
      } else if (sample.kind === "caller") {
        state.waiting += sample.data.waiting;
        state.inFlight += sample.data.inFlight;
        if (source.startsWith("queue-worker-")) state.inFlightOfQueue += sample.data.inFlight;
      } else if (!queue || atMs > queue.atMs) queue = { ...sample.data, atMs };
    }
    return { ...state, queue };
  }
}
