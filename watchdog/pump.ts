/** What gives a body in pieces: `cancel` lets it go at once, also in the middle of `next`, and throws nothing. */
export interface PieceSource {
  readonly next: () => Promise<IteratorResult<Uint8Array, unknown>>;
  readonly cancel: () => void;
}

/** What takes pieces: a sink, or a growing body. */
interface PieceTarget {
  readonly write: (chunk: Uint8Array) => boolean;
  onDrain: () => void;
}

/**
 * Writes all that a source gives, no faster than it is taken. Rejects with what the source throws. After a `cancel` it need
 * not settle: whoever cancels looks after the rest.
 */
export const pump = async ({ next }: PieceSource, target: PieceTarget): Promise<void> => {
  for (;;) {
    const result = await next();
    if (result.done) return;
    if (!target.write(result.value)) await new Promise<void>((drained) => (target.onDrain = drained));
  }
};
