import type { BuskerError } from "../../../schemas/errors.ts";

/** What became of one try to tell an outcome; `status` is what a URL answered. */
export type TellResult =
  | { readonly kind: "told"; readonly status?: number }
  /** It is tried again, while tries are left. */
  | {
      readonly kind: "failed";
      readonly error: BuskerError;
      readonly retryAfterMs?: number | undefined;
      readonly status?: number;
    }
  /** It is never tried again. */
  | { readonly kind: "final"; readonly error: BuskerError; readonly status?: number }
  /** Nothing was tried. */
  | { readonly kind: "later"; readonly delayMs: number };
