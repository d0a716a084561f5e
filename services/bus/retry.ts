/** Tries something that another process may not have prepared yet, until it succeeds or `withinMs` is over. */
export const retryUntilReady = async <T>(attempt: () => Promise<T>, withinMs = 30_000): Promise<T> => {
  const endMs = Date.now() + withinMs;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (Date.now() >= endMs) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
};
