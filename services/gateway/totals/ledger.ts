import type { Sample } from "../../../schemas/read-sample.ts";
import type { StreamPosition } from "../../bus/read-stream.ts";
import type { StoredSample } from "../../bus/read-samples.ts";
import { type SampleNumbers, takeNumber } from "../../bus/sample-numbers.ts";
import { addSample, emptyTotals, type FunctionTotals } from "./function-totals.ts";

/** One start of a source, and what has come of it. */
interface SourceStart {
  readonly start: string;
  readonly numbers: SampleNumbers;
  /** By the stream's time. */
  readonly heardMs: number;
  /** It counts calls of the function that had this name before. */
  readonly isFormer: boolean;
}

/** A ledger as plain data. */
export interface StoredLedger {
  readonly createdAt?: string;
  readonly position: StreamPosition;
  readonly totals: FunctionTotals;
  readonly sources: readonly (readonly [string, readonly SourceStart[]])[];
}

// A gateway begins again when its function is removed and deployed; what it sent before may still come, again even.
const keptStarts = 2;
// By then every repeat has come.
const forgetAfterMs = 15 * 60_000;

/**
 * One function's totals, and what is needed to count every sample once: the same samples give the same totals, whoever
 * reads them and in how many lives.
 */
export class Ledger {
  #totals: FunctionTotals;
  #position: StreamPosition;
  #heardMs = 0;
  readonly #sources: Map<string, readonly SourceStart[]>;
  /** `createdAt` of the function whose calls these are; undefined while no mark has told. */
  createdAt: string | undefined;

  constructor(stored?: StoredLedger) {
    // What an older gateway has stored may lack a count.
    this.#totals = { ...emptyTotals(), ...stored?.totals };
    this.#position = stored?.position ?? { created: "", seq: 0 };
    this.#sources = new Map(stored?.sources);
    this.createdAt = stored?.createdAt;
  }

  get totals(): FunctionTotals {
    return this.#totals;
  }

  /** Of the last sample that it holds. */
  get position(): StreamPosition {
    return this.#position;
  }

  /** When the last sample came to the stream. */
  get heardMs(): number {
    return this.#heardMs;
  }

  /** Counts a sample; false when it had been counted, or counts another function's calls. */
  take({ position, source, sample, atMs }: StoredSample): boolean {
    if (position.created === this.#position.created && position.seq <= this.#position.seq) return false;
    this.#position = position;
    this.#heardMs = atMs;
    if (sample.kind === "deployed") return this.#beginAnew(sample.data.createdAt);
    // A queue-worker tells of its calls and of its queues, each in numbers of its own.
    if (!this.#takeNumber(`${sample.kind} ${source}`, sample.data, atMs)) return false;
    addSample(this.#totals, source, sample);
    return true;
  }

  /** What was counted so far was another function's. */
  restart(createdAt: string): void {
    this.createdAt = createdAt;
    this.#totals = emptyTotals();
    for (const [source, starts] of this.#sources)
      this.#sources.set(
        source,
        starts.map((start) => ({ ...start, isFormer: true })),
      );
  }

  store(): StoredLedger {
    for (const [source, starts] of this.#sources)
      if (starts.every(({ heardMs }) => this.#heardMs - heardMs > forgetAfterMs)) this.#sources.delete(source);
    return {
      ...(this.createdAt === undefined ? {} : { createdAt: this.createdAt }),
      position: this.#position,
      totals: this.#totals,
      sources: [...this.#sources],
    };
  }

  #beginAnew(createdAt: string): boolean {
    // The same mark again begins nothing.
    if (createdAt !== this.createdAt) this.restart(createdAt);
    return true;
  }

  #takeNumber(source: string, { start, n }: Exclude<Sample["data"], { createdAt: string }>, atMs: number): boolean {
    const starts = this.#sources.get(source) ?? [];
    const known = starts.find((each) => each.start === start);
    const numbers = takeNumber(known?.numbers, n);
    if (!numbers) return false;
    const isFormer = known?.isFormer ?? false;
    const others = starts.filter((each) => each.start !== start).slice(0, keptStarts - 1);
    this.#sources.set(source, [{ start, numbers, heardMs: atMs, isFormer }, ...others]);
    return !isFormer;
  }
}
