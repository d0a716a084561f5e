import type { FunctionState, ReplicaNews } from "./function-state.ts";

/** What became of the first replica of a revision. */
export type FirstReady =
  | { readonly kind: "ready" }
  /** One ended before any was ready. */
  | { readonly kind: "failed"; readonly reason: string; readonly isRefused: boolean }
  | { readonly kind: "overdue" }
  /** This provider ends. */
  | { readonly kind: "stopped" };

/** Whose first replica, and how long to wait for it. */
export interface FirstReadyWait {
  readonly revision: string;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

const outcomeOfNews = (news: ReplicaNews, revision: string): FirstReady | undefined => {
  if (news.kind === "refused")
    return news.revision === revision ? { kind: "failed", reason: news.reason, isRefused: false } : undefined;
  if (news.replica.revision !== revision) return undefined;
  if (news.kind === "ready") return { kind: "ready" };
  // One that was told to stop says nothing about those that were not.
  return news.replica.stopping ? undefined : { kind: "failed", reason: news.reason, isRefused: news.isRefused };
};

/** Waits until a replica of this revision is ready, one has failed, or the time is over. Never rejects. */
export const awaitFirstReady = (
  state: FunctionState,
  { revision, timeoutMs, signal }: FirstReadyWait,
): Promise<FirstReady> =>
  new Promise((resolve) => {
    const isReady = state.replicas.some((replica) => replica.state === "ready" && replica.revision === revision);
    if (isReady) return resolve({ kind: "ready" });
    if (signal.aborted) return resolve({ kind: "stopped" });
    const settle = (outcome: FirstReady): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
      unlisten();
      resolve(outcome);
    };
    const timer = setTimeout(() => settle({ kind: "overdue" }), timeoutMs);
    const onAbort = (): void => settle({ kind: "stopped" });
    signal.addEventListener("abort", onAbort);
    const unlisten = state.onNews((news) => {
      const outcome = outcomeOfNews(news, revision);
      if (outcome) settle(outcome);
    });
  });
