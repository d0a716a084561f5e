/** One decision of the scaler about one function. */
export interface ScaleDecision {
  /** RFC 3339. */
  readonly at: string;
  /** Replicas wished for until then. */
  readonly from: number;
  /** Replicas wished for by it. */
  readonly replicas: number;
  /** The rule that it was made by. */
  readonly rule: string;
  /** That rule as a sentence. */
  readonly because: string;
  /** What it rests on, by name, its unit included. */
  readonly numbers: Readonly<Record<string, number>>;
}

/** What the active scaler answers who asks why a function has as many replicas as it has: decisions or an error. */
export interface ScaleExplanation {
  readonly latest?: ScaleDecision;
  /** The last one that changed the count, since this scaler started. */
  readonly lastChange?: ScaleDecision;
  readonly error?: {
    /** A code of the error catalogue. */
    readonly code: string;
    readonly message: string;
  };
}
