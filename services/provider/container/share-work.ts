/** Gives a function that does a piece of work once for all who ask while it is being done; who asks later has it done anew. */
export const shareWork = <T>() => {
  const pending = new Map<string, Promise<T>>();
  return (key: string, work: () => Promise<T>): Promise<T> => {
    const present = pending.get(key) ?? work().finally(() => pending.delete(key));
    pending.set(key, present);
    return present;
  };
};
