/** What dockerode rejects with: the engine's answer, or the error of a connection to it. */
interface EngineFailure {
  readonly statusCode?: number;
  readonly code?: unknown;
  readonly message: string;
}

const asFailure = (error: unknown): EngineFailure =>
  error instanceof Error ? (error as EngineFailure) : { message: String(error) };

/** The HTTP status that an engine answered with; undefined when no answer came. */
export const engineStatus = (error: unknown): number | undefined => asFailure(error).statusCode;

/** The engine's own words, without what dockerode puts around them. */
export const engineReason = (error: unknown): string =>
  asFailure(error)
    .message.replace(/^\(HTTP code \d+\) [^-]*- /, "")
    .trim();

// In the engine's words, and in those of what starts containers for it: a limit may show only there to be none.
const limitWords =
  /^Minimum memory|memory reservation|^Range of CPUs|cpu\.(cfs_quota_us|max)\b|memory\.(limit_in_bytes|max)\b|memory limit too low/i;

/** Whether an engine's words are about limits and requests that it cannot give: who deploys can mend that. */
export const isLimitRefusal = (reason: string): boolean => limitWords.test(reason);

/** Whether the connection failed and not what was asked for: no engine listens, or it went away in mid-answer. */
export const isEngineAway = (error: unknown): boolean =>
  engineStatus(error) === undefined && typeof asFailure(error).code === "string";
