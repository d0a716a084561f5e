import type { Bucket } from "./kv.ts";

/** Copies a bucket into a map for as long as it runs; resolves when the copy is complete. Gives a function that stops it. */
export const mirrorBucket = async <T>(
  bucket: Bucket<T>,
  onPut: (key: string, value: T) => void,
  onGone: (key: string) => void,
): Promise<() => void> => {
  let caughtUp: () => void = () => {};
  const complete = new Promise<void>((resolve) => {
    caughtUp = resolve;
  });
  const stop = await bucket.watch((change) => {
    if (change.kind === "put") onPut(change.entry.key, change.entry.value);
    else onGone(change.key);
  }, caughtUp);
  await complete;
  return stop;
};
