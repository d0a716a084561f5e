import { type Attempt, type CallRecord, isFinal } from "../../schemas/call.ts";
import type { ResponseHead } from "../../schemas/invocation.ts";
import { withoutBodies } from "../bus/call-record-wire.ts";
import { reportFault } from "../bus/report-fault.ts";
import { isSuperseded, putAttempt } from "./attempts.ts";
import { type Run, tell } from "./call-run.ts";

// A call that is over before this is not written down as running: that would be another write for each of them.
const shortMs = 25;

type PartsResponse = NonNullable<CallRecord["response"]>;

/** Writes the call down as running, its response with it once that is being written. */
export const noteRunning = (run: Run, attempt: Attempt, response?: PartsResponse): Promise<boolean> =>
  run.file.change((record) => {
    if (isSuperseded(record.attempts, attempt)) return undefined;
    const { nextMs: _due, response: before, ...rest } = record;
    const written = response ?? (before?.body.name === String(attempt.number) ? before : undefined);
    const attempts = putAttempt(record.attempts, attempt);
    return withoutBodies({ ...rest, state: "running", attempts, ...(written && { response: written }) });
  });

/** What is said of an attempt while it runs. */
export interface Telling {
  /** As it is known by now. */
  readonly attempt: () => Attempt;
  readonly onBound: () => void;
  readonly onParts: (head: ResponseHead) => void;
  readonly stop: () => void;
}

/** Creates what tells of an attempt. `isNoted`: it is on record already. `cancel` ends it. */
export const openTelling = (run: Run, number: number, isNoted: boolean, cancel: () => void): Telling => {
  const { parts, delivery, file, dueMs } = run;
  const { id, function: name } = delivery.call;
  let attempt: Attempt = { number, startedMs: Date.now() };
  let timer: NodeJS.Timeout | undefined;
  let isBound = false;
  const note = (response?: PartsResponse): void => {
    noteRunning(run, attempt, response).then(
      // It was cancelled before anybody knew that it runs here.
      (isWritten) => isWritten || !isFinal(file.record().state) || cancel(),
      (cause: unknown) => reportFault(`could not write down that call ${id} is running`, cause),
    );
  };
  return {
    attempt: () => attempt,
    onBound: () => {
      const nowMs = Date.now();
      if (!isNoted) {
        attempt = { number, startedMs: nowMs };
        clearTimeout(timer);
        timer = setTimeout(note, shortMs);
      }
      if (isBound) return;
      isBound = true;
      const waitedMs = Math.max(0, nowMs - dueMs);
      parts.counter.bound(name, waitedMs);
      tell(run, "started", { id, atMs: nowMs, attempts: number, waitedMs });
    },
    onParts: (head) => note({ ...head, body: { bytes: 0, place: "parts", name: String(number) } }),
    stop: () => clearTimeout(timer),
  };
};
