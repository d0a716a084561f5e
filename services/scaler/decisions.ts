import { BuskerError } from "../../schemas/errors.ts";
import type { FunctionRecord } from "../../schemas/function.ts";
import type { ScaleDecision, ScaleExplanation } from "../../schemas/scaler.ts";
import { toDecision } from "./explanation.ts";
import type { Assessment } from "./follower.ts";
import type { Assessed } from "./pipeline.ts";

// A wish shows in the bucket within milliseconds; one that does not by then was refused or lost, and is made again.
const patienceMs = 3000;

interface Followed {
  latest: { readonly assessment: Assessment; readonly at: Date };
  lastChange?: ScaleDecision;
  /** A wish whose effect has not shown yet. */
  asked?: { readonly from: number; readonly atMs: number };
}

/** What was decided about every function, and the wishes that follow from it. */
export class Decisions {
  readonly #followed = new Map<string, Followed>();
  readonly #publish: (record: FunctionRecord, assessment: Assessment) => void;

  constructor(publish: (record: FunctionRecord, assessment: Assessment) => void) {
    this.#publish = publish;
  }

  get size(): number {
    return this.#followed.size;
  }

  /** Takes a decision, and wishes for it where it changes something and this scaler is the active one. */
  take({ key, record, assessment }: Assessed, isActive: boolean): void {
    const at = new Date();
    const followed = this.#followed.get(key);
    const next: Followed = { ...followed, latest: { assessment, at } };
    this.#followed.set(key, next);
    const { wished, replicas } = assessment;
    if (!isActive || replicas === wished) return;
    const nowMs = performance.now();
    if (next.asked?.from === wished && nowMs - next.asked.atMs < patienceMs) return;
    next.asked = { from: wished, atMs: nowMs };
    next.lastChange = toDecision(assessment, at);
    this.#publish(record, assessment);
  }

  forget(key: string): void {
    this.#followed.delete(key);
  }

  /** Throws `function_not_found` for a function that is not followed. */
  explain(key: string): ScaleExplanation {
    const followed = this.#followed.get(key);
    if (!followed)
      throw new BuskerError("function_not_found", `the scaler knows no function ${key}, or has not decided on it yet`);
    const { latest, lastChange } = followed;
    return { latest: toDecision(latest.assessment, latest.at), ...(lastChange ? { lastChange } : {}) };
  }
}
