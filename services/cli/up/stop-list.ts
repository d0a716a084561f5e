import { describeError } from "../../runtime/log.ts";

/** A part of the platform that must be ended. */
export interface Stoppable {
  readonly name: string;
  /** Ends it in order. */
  readonly stop: () => Promise<void>;
  /** Ends it at once. */
  readonly kill: () => void;
}

/** Parts in the order of their start. */
export interface StopList {
  readonly add: (part: Stoppable) => void;
  /** Ends all in reverse order; what has not ended within `deadlineMs` is killed. True when nothing had to be. */
  readonly stopAll: (deadlineMs: number) => Promise<boolean>;
  /** Ends all at once. */
  readonly killAll: () => void;
}

/** An empty list; `report` gets a line for each part that could not be stopped. */
export const createStopList = (report: (line: string) => void): StopList => {
  const parts: Stoppable[] = [];
  const killAll = (): void => {
    for (const part of parts.toReversed()) part.kill();
  };
  const stopInTurn = async (): Promise<boolean> => {
    for (const part of parts.toReversed())
      await part.stop().catch((error: unknown) => report(`could not stop ${part.name}: ${describeError(error)}`));
    return true;
  };
  const stopAll = async (deadlineMs: number): Promise<boolean> => {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<boolean>((done) => {
      timer = setTimeout(() => done(false), deadlineMs);
    });
    const inTime = await Promise.race([stopInTurn(), late]);
    clearTimeout(timer);
    if (!inTime) report(`not everything stopped within ${deadlineMs} ms; killing the rest`);
    killAll();
    return inTime;
  };
  return { add: (part) => void parts.push(part), stopAll, killAll };
};
