import type { Bus } from "../services/bus/connection.ts";
import type { Mode } from "./mode.ts";
import type { Replica } from "./replica.ts";
import type { Reporter } from "./reporter.ts";

/** What has to be ended. */
export interface EndingParts {
  readonly bus: Bus;
  readonly mode: Mode;
  readonly reporter: Reporter;
  readonly replica: Replica;
}

/** How a replica ends, from its first moment on: the first reason counts. */
export interface Ending {
  /** A line of the function; kept until there is a reporter. */
  readonly log: Reporter["log"];
  /** The function as a whole is gone, or did not start. Its last lines are told with the reason. */
  readonly lost: (reason: string) => void;
  readonly end: (code: number, reason?: string) => void;
  readonly attach: (parts: EndingParts) => void;
}

// What the function's processes get between SIGTERM and SIGKILL.
const stopGraceMs = 2000;
// A reason is read by a person, in an answer and in a status.
const maxReasonCharacters = 4000;

const exitWith = async (
  { bus, mode, reporter, replica }: EndingParts,
  code: number,
  reason?: string,
): Promise<never> => {
  replica.close();
  await mode.stop(stopGraceMs);
  reporter.flush();
  reporter.stop();
  replica.announce("exited", reason);
  // A bus that is away cannot hear it: the provider sees the process end, and reads what it has written.
  if (bus.isConnected()) await bus.nc.flush();
  else if (reason !== undefined) process.stderr.write(`${reason}\n`);
  process.exit(code);
};

const withLastLines = (reason: string, reporter: Reporter): string =>
  [reason, ...reporter.lastLines()].join("\n").slice(-maxReasonCharacters);

/** Creates it before there is anything to end. */
export const createEnding = (): Ending => {
  const early: Parameters<Reporter["log"]>[] = [];
  const later: { parts?: EndingParts; lost?: string; ended?: true } = {};
  const end = (code: number, reason?: string): void => {
    if (later.ended || !later.parts) return;
    later.ended = true;
    void exitWith(later.parts, code, reason);
  };
  const lost = (reason: string): void => {
    later.lost ??= reason;
    if (later.parts) end(1, withLastLines(later.lost, later.parts.reporter));
  };
  return {
    end,
    lost,
    log: (...line) => (later.parts ? later.parts.reporter.log(...line) : early.push(line)),
    attach: (parts) => {
      later.parts = parts;
      for (const line of early) parts.reporter.log(...line);
      if (later.lost !== undefined) lost(later.lost);
    },
  };
};
