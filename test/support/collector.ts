const defaultMs = 30_000;

/** Rejects when `promise` has not ended within the time; a deadline, not a pause. */
export const within = async <T>(promise: Promise<T>, what: string, ms = defaultMs): Promise<T> => {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
};

/** What has been pushed so far, and a way to wait for more. */
export interface Collector<T> {
  readonly all: readonly T[];
  readonly push: (item: T) => void;
  /** Resolves with everything so far once `isEnough` says so. */
  readonly until: (isEnough: (all: readonly T[]) => boolean, what: string, ms?: number) => Promise<readonly T[]>;
  /** Resolves once there are `count`. */
  readonly reach: (count: number, ms?: number) => Promise<readonly T[]>;
}

/** Collects what comes, so that a test awaits events instead of sleeping. */
export const collect = <T>(): Collector<T> => {
  const all: T[] = [];
  const looks = new Set<() => void>();
  const until = (isEnough: (items: readonly T[]) => boolean, what: string, ms?: number): Promise<readonly T[]> => {
    const met = new Promise<readonly T[]>((resolve) => {
      const look = (): void => {
        if (!isEnough(all)) return;
        looks.delete(look);
        resolve(all);
      };
      looks.add(look);
      look();
    });
    return within(met, what, ms);
  };
  return {
    all,
    push: (item) => {
      all.push(item);
      for (const look of looks) look();
    },
    until,
    reach: (count, ms) => until((items) => items.length >= count, `${count} items`, ms),
  };
};

/** A promise with its resolver beside it. */
export const openGate = (): { readonly opened: Promise<void>; readonly open: () => void } => {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
};
