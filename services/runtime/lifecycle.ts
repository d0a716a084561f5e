import { createLog, describeError, type Log } from "./log.ts";

/** Takes what must be stopped when the service stops; stopped in reverse order of being added. */
export interface Scope {
  readonly log: Log;
  /** Registers a part's stop; `name` says in the log which one failed to stop. */
  readonly onStop: (name: string, stop: () => void | Promise<void>) => void;
  /** Ends the service because a part of it cannot go on. */
  readonly fail: (reason: string) => void;
}

const stopAll = async (stops: readonly [string, () => void | Promise<void>][], log: Log): Promise<void> => {
  for (const [name, stop] of stops.toReversed()) {
    try {
      await stop();
    } catch (error) {
      log.error("could not stop a part", { part: name, error: describeError(error) });
    }
  }
};

/**
 * Runs a service: starts it, waits for SIGINT, SIGTERM, the end of standard input (where `BUSKER_PARENT=stdin` says a
 * supervisor holds its other end) or a failure, and stops its parts in reverse. Exits 0 after a signal, 1 after a
 * failure, which is one clear line on standard error.
 */
export const runService = async (service: string, start: (scope: Scope) => Promise<void>): Promise<void> => {
  const log = createLog(service, (line) => process.stderr.write(line));
  const stops: [string, () => void | Promise<void>][] = [];
  let end: (reason: { code: number; why: string }) => void = () => {};
  const ended = new Promise<{ code: number; why: string }>((resolve) => {
    end = resolve;
  });
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => end({ code: 0, why: signal }));
  if (process.env["BUSKER_PARENT"] === "stdin")
    process.stdin.resume().on("end", () => end({ code: 0, why: "the supervisor is gone" }));
  process.on("uncaughtException", (error) => end({ code: 1, why: describeError(error) }));
  process.on("unhandledRejection", (error) => end({ code: 1, why: describeError(error) }));
  const scope: Scope = {
    log,
    onStop: (name, stop) => stops.push([name, stop]),
    fail: (why) => end({ code: 1, why }),
  };
  await start(scope).catch((error: unknown) => end({ code: 1, why: describeError(error) }));
  const { code, why } = await ended;
  if (code === 0) log.info("stopping", { why });
  else log.error("failed", { why });
  await stopAll(stops, log);
  process.exit(code);
};
