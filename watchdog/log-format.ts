import type { FinishedCall, LogLine } from "../schemas/events.ts";
import type { WatchdogConfig } from "./config.ts";

/** What of a watchdog's settings shapes its log lines. */
export type LogFormat = Pick<WatchdogConfig, "prefixLogs" | "logCallId" | "mode">;

// What Go's log package puts before a line, in UTC: people have parsers for it.
const goTime = (at: string): string => `${at.slice(0, 10).replaceAll("-", "/")} ${at.slice(11, 19)}`;

/**
 * The text of a line as of-watchdog prints it (contract §3.1): date, time and the stream's name before it unless
 * `prefix_logs` is false, and the call's id in brackets with `log_callid`, where the call is known.
 */
export const formatLine = (
  { prefixLogs, logCallId }: Omit<LogFormat, "mode">,
  { at, stream, text, callId }: LogLine,
): string => {
  const own = logCallId && callId !== undefined ? `[${callId}] ${text}` : text;
  return prefixLogs ? `${goTime(at)} ${stream}: ${own}` : own;
};

/**
 * The line about a finished call; undefined when none is wished for. A server's own lines tell nothing of the call that
 * they are about, so with `log_callid` the watchdog of mode http writes one that does.
 */
export const describeCall = (
  { logCallId, mode }: Omit<LogFormat, "prefixLogs">,
  { status, durationMs }: FinishedCall,
): string | undefined => (logCallId && mode === "http" ? `${status} (${(durationMs / 1000).toFixed(4)}s)` : undefined);
