import type { FinishedCall, LogLine } from "../schemas/events.ts";
import type { ReplicaLaunch } from "../schemas/launch.ts";
import { callSubject, logSubject } from "../schemas/subjects.ts";
import type { Bus } from "../services/bus/connection.ts";
import { encodeEvent, publishEvent } from "../services/bus/events.ts";
import type { SpanRecorder } from "../services/runtime/spans.ts";
import { FinishedBatch } from "./finished-batch.ts";
import { describeCall, formatLine, type LogFormat } from "./log-format.ts";
import type { ProcessTree } from "./process-tree.ts";
import { type ReplicaState, sampleReplica } from "./replica-samples.ts";
import { openSpanBatch } from "./span-batch.ts";

/** What a replica tells of itself, in batches: the hot path only adds to arrays. */
export interface Reporter {
  readonly log: (stream: "stdout" | "stderr", text: string, callId?: string) => void;
  readonly began: () => void;
  /** The function has a call that was here for so long. */
  readonly had: (waitMs: number) => void;
  /** `isRecorded`: its caller keeps a record of it, so that it is only counted. */
  readonly finished: (call: FinishedCall, isRecorded: boolean) => void;
  /** Where spans go; absent while nothing is traced. */
  readonly spans: SpanRecorder | undefined;
  /** The last lines written, oldest first, as the function wrote them: why a function died is usually among them. */
  readonly lastLines: () => readonly string[];
  /** Publishes what is collected. */
  readonly flush: () => void;
  readonly stop: () => void;
}

// A batch of finished calls leaves this often (design §2).
const doneEveryMs = 250;
// Lines wait this long for company; a person following a log does not notice.
const logEveryMs = 50;
// While the bus is away lines collect up to here; then the oldest go, and how many is said.
const maxLines = 2000;
// A log event stays well below the largest message.
const maxBatchCharacters = 512 * 1024;
const keptLines = 10;

/** Lines that are waiting to be published. */
class LineBuffer {
  #lines: LogLine[] = [];
  #dropped = 0;

  add(line: LogLine): void {
    this.#lines.push(line);
    if (this.#lines.length <= maxLines) return;
    this.#lines.shift();
    this.#dropped += 1;
  }

  get isEmpty(): boolean {
    return this.#lines.length === 0;
  }

  takeBatch(): LogLine[] {
    if (this.#dropped > 0) {
      const text = `[busker] ${this.#dropped} lines were dropped because they came faster than the bus took them`;
      this.#lines.unshift({ at: new Date().toISOString(), stream: "stderr", text });
      this.#dropped = 0;
    }
    let characters = 0;
    const end = this.#lines.findIndex((line) => (characters += line.text.length) > maxBatchCharacters);
    return this.#lines.splice(0, end < 0 ? this.#lines.length : Math.max(1, end));
  }
}

/** Collects a replica's log lines, finished calls and samples and publishes them on timers. */
export const createReporter = (
  bus: Bus,
  launch: ReplicaLaunch,
  state: ReplicaState & { readonly format: LogFormat },
  tree: ProcessTree,
): Reporter => {
  const { namespace, name, replica } = launch;
  const lines = new LineBuffer();
  let last: string[] = [];
  const done = new FinishedBatch(replica);
  const samples = sampleReplica(bus, launch, state, tree);
  const spans = launch.traces && openSpanBatch(bus, launch);

  const flushLines = (): void => {
    if (!bus.isConnected()) return;
    while (!lines.isEmpty)
      publishEvent(bus, {
        subject: logSubject(namespace, name, replica),
        type: "io.busker.log",
        data: { lines: lines.takeBatch() },
      });
  };
  const flushDone = (): void => {
    if (done.isEmpty || !bus.isConnected()) return;
    const subject = callSubject("done", namespace, name);
    const { headers } = encodeEvent(bus.source, { subject, type: "io.busker.call.done", data: { replica, calls: [] } });
    bus.nc.publish(subject, done.take(), { headers });
  };
  let linesTimer: NodeJS.Timeout | undefined;
  const doneTimer = setInterval(flushDone, doneEveryMs);
  const addLine: Reporter["log"] = (stream, text, callId) => {
    const line = { at: new Date().toISOString(), stream, text, ...(callId === undefined ? {} : { callId }) };
    lines.add({ ...line, text: formatLine(state.format, line) });
    linesTimer ??= setTimeout(() => {
      linesTimer = undefined;
      flushLines();
    }, logEveryMs);
  };
  return {
    log: (stream, text, callId) => {
      last = [...last.slice(1 - keptLines), text];
      addLine(stream, text, callId);
    },
    began: samples.began,
    had: samples.had,
    finished: (call, isRecorded) => {
      samples.finished(call.status, call.durationMs);
      if (!isRecorded && !launch.recordsNothing) done.add(call);
      const text = describeCall(state.format, call);
      if (text !== undefined) addLine("stderr", text, call.id);
    },
    spans,
    lastLines: () => last,
    flush: () => {
      flushLines();
      flushDone();
      samples.flush();
      spans?.flush();
    },
    stop: () => {
      samples.stop();
      spans?.stop();
      clearInterval(doneTimer);
      clearTimeout(linesTimer);
    },
  };
};
