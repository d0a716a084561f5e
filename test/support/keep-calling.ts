/** What was answered, by what it was, and how often. */
export type Answers = Record<string, number>;

/** Clients that call one after the other until they are stopped. */
export const keepCalling = (
  call: () => Promise<string>,
  clients: number,
): { readonly stop: () => Promise<Answers> } => {
  const answers: Answers = {};
  let isOver = false;
  const client = async (): Promise<void> => {
    while (!isOver) {
      const answer = await call().catch((error: unknown) => String(error));
      answers[answer] = (answers[answer] ?? 0) + 1;
    }
  };
  const all = Promise.all(Array.from({ length: clients }, client));
  return {
    stop: async () => {
      isOver = true;
      await all;
      return answers;
    },
  };
};
