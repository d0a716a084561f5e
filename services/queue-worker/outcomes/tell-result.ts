import type { BuskerError } from "../../../schemas/errors.ts";

/** What became of one try to tell an outcome. */
export type TellResult =
  | { readonly kind: "told" }
  /** It is tried again, while tries are left. */
  | { readonly kind: "failed"; readonly error: BuskerError; readonly retryAfterMs?: number | undefined }
  /** It is never tried again. */
  | { readonly kind: "final"; readonly error: BuskerError }
  /** Nothing was tried. */
  | { readonly kind: "later"; readonly delayMs: number };
