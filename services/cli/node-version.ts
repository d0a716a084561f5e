/** The oldest Node.js that Busker runs on. */
export const oldestNode = "20.18";

const isOlder = (a: readonly number[], b: readonly number[]): boolean => {
  const at = a.findIndex((part, index) => part !== (b[index] ?? 0));
  return at >= 0 && (a[at] ?? 0) < (b[at] ?? 0);
};

/** Why this Node.js is too old, in one line; undefined when it is not. */
export const nodeProblem = (version: string): string | undefined =>
  isOlder(version.split(".").slice(0, 2).map(Number), oldestNode.split(".").map(Number))
    ? `cannot start: Node.js ${oldestNode} or newer is needed; this is ${version}`
    : undefined;
