/**
 * What `work` gives, or a rejection with `reason` once `signal` is aborted. Work that outlasts that is not waited for:
 * what it gives then is handed to `discard`, and its failure concerns nobody any more.
 */
export const orAborted = async <T>(
  work: Promise<T>,
  signal: AbortSignal,
  reason: Error,
  discard: (late: T) => void,
): Promise<T> => {
  let onAbort = (): void => {};
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => {
      work.then(discard, () => {});
      reject(reason);
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
};
