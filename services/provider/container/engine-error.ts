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

/** Whether the connection failed and not what was asked for: no engine listens, or it went away in mid-answer. */
export const isEngineAway = (error: unknown): boolean =>
  engineStatus(error) === undefined && typeof asFailure(error).code === "string";
