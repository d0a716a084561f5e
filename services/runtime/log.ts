/** What a log line may carry besides its message. */
export type LogFields = Readonly<Record<string, unknown>>;

/** Writes log lines of one service. */
export interface Log {
  readonly info: (message: string, fields?: LogFields) => void;
  readonly warn: (message: string, fields?: LogFields) => void;
  readonly error: (message: string, fields?: LogFields) => void;
}

/** Says what an unknown thrown value was, with its causes, on one line. */
export const describeError = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : `${error.message}: ${describeError(error.cause)}`;
};

/** A log that writes one JSON object a line (`at`, `level`, `service`, `message`, then the fields) to `write`. */
export const createLog = (service: string, write: (line: string) => void): Log => {
  const line =
    (level: string) =>
    (message: string, fields: LogFields = {}): void =>
      write(`${JSON.stringify({ at: new Date().toISOString(), level, service, message, ...fields })}\n`);
  return { info: line("info"), warn: line("warn"), error: line("error") };
};

/** A log that keeps silent: for tests and one-shot commands. */
export const silentLog: Log = { info: () => {}, warn: () => {}, error: () => {} };
