import type { KvEntry, KvWatchEntry } from "@nats-io/kv";
import { BuskerError } from "../../schemas/errors.ts";

/** A value with the revision to compare against when it is written again. */
export interface Entry<T> {
  readonly key: string;
  readonly value: T;
  readonly revision: number;
}

/**
 * A change of a bucket: a value put, or a key that is gone. A removal's revision is its own, or, where the server keeps
 * no trace of it any more, one more than that of the value that was there.
 */
export type Change<T> =
  | { readonly kind: "put"; readonly entry: Entry<T> }
  | { readonly kind: "gone"; readonly key: string; readonly revision: number };

/** Tells whether an entry holds a value; the others are what a removal leaves behind. */
export const isPresent = (entry: KvEntry | KvWatchEntry): boolean => entry.operation === "PUT";

/** Reads an entry. Throws `internal` when its value is not JSON, as one written by hand may be. */
export const readEntry = <T>(entry: KvEntry | KvWatchEntry): Entry<T> => {
  try {
    return { key: entry.key, value: entry.json<T>(), revision: entry.revision };
  } catch (cause) {
    const begin = entry.string().slice(0, 60);
    throw new BuskerError(
      "internal",
      `key ${entry.key} of bucket ${entry.bucket} must hold JSON; got ${JSON.stringify(begin)}`,
      { cause },
    );
  }
};
