/** How a person or a service manager ends the platform. */
export interface StopSignals {
  /** Aborted by the first SIGINT, SIGTERM or SIGHUP. */
  readonly first: AbortSignal;
  /** Stops listening. */
  readonly close: () => void;
}

/** Listens for signals; `onSecond` is called by every one after the first: the sender will not wait. */
export const listenForStop = (onSecond: () => void): StopSignals => {
  const first = new AbortController();
  const names = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  const take = (): void => (first.signal.aborted ? onSecond() : first.abort());
  for (const name of names) process.on(name, take);
  const close = (): void => {
    for (const name of names) process.off(name, take);
  };
  return { first: first.signal, close };
};
