/** Calls `wake` with what was added once its time has come, not long after. */
export interface DueTimes<T> {
  readonly add: (item: T, atMs: number) => void;
  readonly close: () => void;
}

// Times are kept in slots of this length, and in each slot an item once: a hundred thousand retries of one function take as
// little room as one.
const slotMs = 50;
// The server notices that something is due a little after it is: asked too early, it has nothing.
const patienceMs = 30;

/** Creates them; the timer runs only while there is something to wait for. */
export const createDueTimes = <T>(wake: (item: T) => void, nowMs: () => number = Date.now): DueTimes<T> => {
  const slots = new Map<number, Set<T>>();
  let timer: NodeJS.Timeout | undefined;
  const stop = (): void => {
    clearInterval(timer);
    timer = undefined;
  };
  const tick = (): void => {
    const now = nowMs();
    for (const [slot, items] of slots) {
      if (slot * slotMs > now) continue;
      slots.delete(slot);
      for (const item of items) wake(item);
    }
    if (slots.size === 0) stop();
  };
  return {
    add: (item, atMs) => {
      const slot = Math.ceil((atMs + patienceMs) / slotMs);
      const items = slots.get(slot);
      if (items) items.add(item);
      else slots.set(slot, new Set([item]));
      timer ??= setInterval(tick, slotMs).unref();
    },
    close: stop,
  };
};
